"""Engines become a swarm that says what its nodes are for."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from deploys.cluster import OWNER, Cluster
from operations import autolock, context, swarm
from operations.tls import Issuer
from pki.context import ENGINE_PORT, Context


@deploy("Inventory")
def checked(cluster: Cluster) -> None:
    """Nothing is touched where the hosts contradict each other or the inventory."""
    swarm.agreed(name="Compare the hosts", pool=cluster.settings.overlay_pool)
    context.free(name="Look for a docker context of the same name", contexts=_contexts(cluster))


@deploy("Swarm")
def form(cluster: Cluster) -> None:
    """Start the swarm, join the others, give each node its role and labels, leave a docker context behind."""
    mine = cluster.hosts[host.name]
    manages = host.name in cluster.managers
    data_path_address = mine.data_path_address or ""
    autolock.unlocked(name="Unlock the swarm", folder=cluster.folder)
    swarm.initialised(
        name="Start the swarm",
        address=mine.address,
        pool=cluster.settings.overlay_pool,
        data_path_address=data_path_address,
        folder=cluster.folder,
    )
    # One manager after the other, for each changes the quorum; the workers at once.
    swarm.joined(
        name="Join the managers",
        role="manager",
        address=mine.address,
        data_path_address=data_path_address,
        now=manages,
        _serial=True,
    )
    swarm.joined(
        name="Join the workers",
        role="worker",
        address=mine.address,
        data_path_address=data_path_address,
        now=not manages,
    )
    swarm.promoted(name="Promote to manager", wanted=manages, _serial=True)
    swarm.demoted(name="Demote to worker", wanted=not manages, _serial=True)
    swarm.known_once(name="Forget the node's former entries", address=mine.address, _serial=True)
    describe(cluster=cluster)
    autolock.autolocked(name="Lock the swarm's managers", wanted=cluster.settings.autolock, folder=cluster.folder)
    write_context(cluster)


@deploy("Nodes")
def describe(cluster: Cluster) -> None:
    """Each node has its labels and its availability, also one that a stopped run has left drained."""
    mine = cluster.hosts[host.name]
    swarm.described(
        name="Label the node",
        labels={
            **mine.labels,
            **(_registry(cluster) if host.name == cluster.settings.registry_node else {}),
            **({"prometheus": "true"} if host.name == cluster.settings.prometheus_node else {}),
        },
        availability=mine.availability,
    )


def _registry(cluster: Cluster) -> dict[str, str]:
    """What the image tool reads of the registry's node: the address, and the folder for the data if there is one."""
    data = cluster.settings.registry_data
    return {"registry": cluster.registry, **({"registry.data": data} if data else {})}


@deploy("Clients")
def readmit(cluster: Cluster, issuer: Issuer) -> None:
    """Certify the owner and everybody who has access anew where their certificates are too old."""
    context.readmitted(
        name="Certify the clients anew", speaks=host.name == cluster.managers[0], owner=OWNER, issuer=issuer
    )
    write_context(cluster)


def write_context(cluster: Cluster) -> None:
    """Have docker's command line on this computer reach the manager that speaks for the swarm."""
    context.written(name="Write the docker context", contexts=_contexts(cluster))


def _contexts(cluster: Cluster) -> dict[str, Context]:
    """The docker context, by the manager that it leads to."""
    return {
        name: Context(
            name=cluster.settings.cluster_name,
            host=f"tcp://{cluster.hosts[name].address}:{ENGINE_PORT}",
            certificates=cluster.folder,
            description=f"The swarm of {name}",
        )
        for name in cluster.managers
    }
