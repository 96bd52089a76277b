"""Engines become a swarm that says what its nodes are for."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from deploys.cluster import Cluster
from operations import context, swarm
from pki.context import ENGINE_PORT, Context


@deploy("Swarm")
def form(cluster: Cluster) -> None:
    """Start the swarm on the leader, join the others, label the nodes, leave a docker context behind."""
    address = str(host.data.address)
    leads = host.name == cluster.leader
    swarm.initialised(
        name="Start the swarm",
        address=address,
        pool=cluster.overlay_pool,
        certificates=cluster.folder,
        _if=lambda: leads,
    )
    swarm.joined(
        name="Join the swarm",
        role="manager" if "managers" in host.groups else "worker",
        address=address,
        certificates=cluster.folder,
    )
    swarm.known_once(name="Forget the node's former entries", address=address, certificates=cluster.folder)
    swarm.labelled(
        name="Label the node",
        labels={
            "registry": cluster.registry if host.name == cluster.registry_node else None,
            "prometheus": "true" if host.name == cluster.prometheus_node else None,
        },
        certificates=cluster.folder,
    )
    context.written(
        name="Write the docker context",
        context=Context(
            name=cluster.name,
            host=f"tcp://{cluster.leader_address}:{ENGINE_PORT}",
            certificates=cluster.folder,
            description=f"The swarm of {cluster.leader}, by provisioning",
        ),
        _if=lambda: leads,
    )
