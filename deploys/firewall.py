"""The swarm's ports, open to the cluster alone."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import deploy

from deploys.cluster import Cluster
from operations import firewall


@deploy("Firewall")
def check(cluster: Cluster) -> None:
    """Nothing is touched where the firewall would shut out this computer, or one node from the others."""
    if cluster.settings.firewall:
        firewall.lets_us_in(
            name="See that it lets us in",
            address=cluster.hosts[host.name].address,
            nodes=_addresses(cluster),
            networks=cluster.settings.api_networks,
        )


@deploy("Firewall")
def close(cluster: Cluster) -> None:
    """Our own table of rules, loaded at each start; or none, with the setting `firewall = False`."""
    if cluster.settings.firewall:
        firewall.closed(
            name="Close the swarm's ports to strangers",
            address=cluster.hosts[host.name].address,
            nodes=_addresses(cluster),
            networks=cluster.settings.api_networks,
        )
    else:
        remove()


@deploy("Firewall")
def remove() -> None:
    """Nothing of ours, and everybody else's rules as they are."""
    firewall.opened(name="Take our firewall away")


def _addresses(cluster: Cluster) -> Sequence[str]:
    return [address for one in cluster.hosts.values() for address in (one.address, one.data_path_address) if address]
