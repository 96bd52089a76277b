"""Hosts leave the cluster."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from deploys import firewall, metrics
from deploys.cluster import Cluster
from deploys.docker import close, purge
from operations import clock, network
from operations import host as hosts
from operations import leave as going


@deploy("Leave")
def leave(cluster: Cluster) -> None:
    """Drain the host, take it out of the swarm, and close its engine to the network."""
    ends = host.data.get("yes") is True
    going.may_leave(name="Look at the quorum", ends=ends, wipes=False)
    going.drained(name="Move its tasks to other nodes", required=False, _serial=True)
    _part(cluster, ends, wipes=False)
    metrics.remove()
    close()
    firewall.remove()
    going.uncertified(name="Forget its certificate")


@deploy("Reset")
def reset(cluster: Cluster) -> None:
    """Take all that the cluster made away from the host."""
    going.consented(
        name="Ask",
        consent=host.data.get("yes"),
        what="its engine, images, volumes and place in the swarm will be removed.",
        _serial=True,
    )
    _part(cluster, ends=True, wipes=True)
    metrics.remove()
    purge()
    firewall.remove()
    network.dockers_left_alone(name="Give Docker's interfaces back", wanted=False)
    hosts.modules_left(name="Load no kernel modules")
    hosts.named(name="Forget the other nodes' names", hostname=host.name, nodes={})
    clock.asks(name="Ask the time servers of before", servers=())


def _part(cluster: Cluster, ends: bool, wipes: bool) -> None:
    """Managers after the workers, and one by one: each changes the quorum."""
    manages = host.name in cluster.managers
    folder = cluster.folder
    going.left(name="Workers leave", now=not manages, ends=ends, wipes=wipes, folder=folder, _serial=True)
    going.left(name="Managers leave", now=manages, ends=ends, wipes=wipes, folder=folder, _serial=True)
