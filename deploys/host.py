"""What a host needs before it gets an engine."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from deploys.cluster import Cluster
from operations import clock, network
from operations import host as hosts


@deploy("Host")
def prepare(cluster: Cluster) -> None:
    """Address, name, clock, and what the kernel has to do; a reboot where it has to start anew."""
    mine = cluster.hosts[host.name]
    network.fixed(
        name="Fix the address",
        wanted=mine.static,
        address=mine.address,
        gateway=cluster.settings.gateway,
        name_servers=cluster.settings.name_servers,
    )
    network.dockers_left_alone(name="Leave Docker's interfaces alone")
    hosts.named(
        name="Name the host", hostname=host.name, nodes={name: one.address for name, one in cluster.hosts.items()}
    )
    clock.asks(name="Ask the time servers", servers=cluster.settings.time_servers)
    hosts.on_time(name="Keep the clock right")
    hosts.modules_loaded(name="Load kernel modules")
    hosts.memory_cgroup(name="Count memory")
    hosts.rebooted(name="Reboot where the kernel needs it", folder=cluster.folder, _serial=True)
