"""How hosts become one swarm.

Tokens never reach a command line, a file or pyinfra's output: init and join go through the engines' API,
over TLS, from the controller.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra import host, inventory
from pyinfra.api import Host
from pyinfra.api.command import PyinfraCommand

from facts.host import Host as HostFact
from facts.host import platform
from facts.swarm import Role, Swarm, SwarmNode
from operations.known import converges, known
from operations.refusal import OnController, Refused
from pki.context import ENGINE_PORT

if TYPE_CHECKING:
    from docker import DockerClient

SWARM_PORT = 2377
_SUBNET_SIZE = 24
_PATIENCE = 60


@dataclass(frozen=True)
class _Leader:
    """A manager that answers, and what it says of its swarm."""

    host: Host
    nodes: Mapping[str, SwarmNode]

    @property
    def address(self) -> str:
        return str(self.host.data.address)


def _leader() -> _Leader | None:
    """The first manager of the inventory that is in a swarm and answers."""
    for candidate in inventory.get_group("managers"):
        if candidate.connected and (nodes := known(Swarm, of=candidate).nodes):
            return _Leader(candidate, nodes)
    return None


def _is_out(other: Host) -> bool:
    """Whether a manager answers and says that it is in no swarm."""
    if not other.connected:
        return False
    membership = known(Swarm, of=other).membership
    return membership is None or membership.state == "inactive"


@contextmanager
def _engine(address: str, certificates: Path) -> Iterator[DockerClient]:
    """The engine's API on a host; what it refuses is a ValueError, which `OnController` says to a person."""
    # Here and not above: the SDK takes a quarter of a second to import, and most runs need none of it.
    from docker.errors import DockerException

    from pki.client import engine

    try:
        with closing(engine(f"tcp://{address}:{ENGINE_PORT}", certificates)) as client:
            yield client
    except DockerException as error:
        raise ValueError(error) from error


@converges(Swarm, everywhere=True)
def initialised(address: str, pool: str, certificates: Path) -> Generator[PyinfraCommand, None, None]:
    """Start a swarm on this host, unless a manager of the inventory is in one.

    Args:
        pool: the networks that overlay networks are cut from, e.g. `10.201.0.0/16`.
        certificates: the folder with the client certificate.
    """
    if _leader():
        host.noop("already a swarm")
        return
    for other in inventory.get_group("managers"):
        # One that is silent now may hold the swarm that this cluster is.
        if other.name != host.name and not _is_out(other):
            raise Refused(
                f"starting a swarm: {other.name} does not answer for the one that it may be in; bring it back first,"
                f" or take it out of `managers` if it is lost, then run again"
            )
    state = known(HostFact)
    for route in state.routes:
        if ipaddress.ip_network(route, strict=False).overlaps(ipaddress.ip_network(pool)):
            raise Refused(f"overlay_pool {pool} overlaps {route}, which {host.name} has a route to; choose another")
    yield OnController("starting the swarm", lambda: _init(address, pool, certificates))


def _init(address: str, pool: str, certificates: Path) -> None:
    with _engine(address, certificates) as engine:
        engine.swarm.init(advertise_addr=address, default_addr_pool=[pool], subnet_size=_SUBNET_SIZE)


@converges(Swarm, everywhere=True)
def joined(role: Role, address: str, certificates: Path) -> Generator[PyinfraCommand, None, None]:
    """Join the leader's swarm as `role`, unless this host is in it."""
    membership = known(Swarm).membership
    leader = _leader()
    if leader is None:
        silent = [candidate.name for candidate in inventory.get_group("managers") if not candidate.connected]
        why = f"{', '.join(silent)} does not answer" if silent else "no manager of the inventory is in one"
        raise Refused(f"joining the swarm: {why}; look at what failed above, then run again")
    if membership and membership.active:
        if membership.node_id in leader.nodes:
            host.noop("already in the swarm")
        else:
            raise Refused(
                f"is in another swarm than {leader.host.name}, as node {membership.node_id};"
                f" `docker swarm leave` on {host.name} if you want it in this one, then run again"
            )
        return
    if membership and membership.state == "locked":
        raise Refused(f"its swarm is locked; `docker swarm unlock` on {host.name}, then run again")
    entry = leader.nodes.get(membership.node_id) if membership else None
    if entry and entry.hostname:
        # It is in the swarm and has not found it again yet, as after a power cut.
        yield OnController("waiting until it is back in the swarm", lambda: _await_return(address, certificates))
        return
    yield OnController(
        f"joining the swarm of {leader.host.name}", lambda: _join(role, address, leader.address, certificates)
    )


def _await_return(address: str, certificates: Path) -> None:
    with _engine(address, certificates) as engine:
        for _ in range(_PATIENCE):
            if (state := engine.info()["Swarm"]["LocalNodeState"]) == "active":
                return
            time.sleep(1)
    raise ValueError(f"it is still {state!r} after {_PATIENCE} s; look at `journalctl -u docker` there")


def _join(role: Role, address: str, leader: str, certificates: Path) -> None:
    with _engine(leader, certificates) as manager, _engine(address, certificates) as engine:
        token = manager.api.inspect_swarm()["JoinTokens"][role.capitalize()]
        cut_off = engine.info()["Swarm"]
        if cut_off["LocalNodeState"] != "inactive":
            # No manager ever learnt this node's name, and it would be listed as Unknown for ever.
            engine.swarm.leave(force=True)
            if cut_off["NodeID"] in {node["ID"] for node in manager.api.nodes()}:
                manager.api.remove_node(cut_off["NodeID"], force=True)
        engine.swarm.join(
            remote_addrs=[f"{leader}:{SWARM_PORT}"],
            join_token=token,
            advertise_addr=address,
            listen_addr=f"0.0.0.0:{SWARM_PORT}",
        )


@converges(Swarm, everywhere=True)
def known_once(address: str, certificates: Path) -> Generator[PyinfraCommand, None, None]:
    """Forget former entries of this host, which would be listed as Down for ever.

    A Pi whose card was written anew, or whose join was cut off, comes back as another node.
    """
    membership = known(Swarm).membership
    leader = _leader()
    if leader is None or membership is None or membership.node_id not in leader.nodes:
        raise Refused("forgetting its former entries: it is not in the swarm yet; look at what failed above, run again")
    former = [
        node.id
        for node in leader.nodes.values()
        if node.id != membership.node_id
        and node.role == "worker"
        # An address is one host's, and the host says which node it is; the manager may take the other
        # for alive a while longer.
        and (node.address == address or (node.hostname == host.name and node.state != "ready"))
    ]
    if not former:
        host.noop("has one entry")
        return
    yield OnController("forgetting its former entries", lambda: _forget(former, leader.address, certificates))


def _forget(nodes: Sequence[str], leader: str, certificates: Path) -> None:
    with _engine(leader, certificates) as engine:
        for node in nodes:
            engine.api.remove_node(node, force=True)


@converges(Swarm, everywhere=True)
def labelled(labels: Mapping[str, str | None], certificates: Path) -> Generator[PyinfraCommand, None, None]:
    """Give this host's node its labels and say what its kernel can do; other labels stay.

    Args:
        labels: by name; None is a label that the node must not have.
    """
    state = known(HostFact)
    wanted = {
        **labels,
        "ipvs": "true" if state.ipvs else "false",
        "platform": platform(state.architecture, state.machine),
    }
    membership = known(Swarm).membership
    leader = _leader()
    if leader is None or membership is None or membership.node_id not in leader.nodes:
        raise Refused("labelling the node: it is not in the swarm yet; look at what failed above, run again")
    node = leader.nodes[membership.node_id]
    if all(node.labels.get(key) == value for key, value in wanted.items()):
        host.noop("already labelled")
        return
    yield OnController("labelling the node", lambda: _label(node.id, wanted, leader.address, certificates))


def _label(node: str, labels: Mapping[str, str | None], leader: str, certificates: Path) -> None:
    with _engine(leader, certificates) as engine:
        spec = engine.nodes.get(node).attrs["Spec"]
        merged = {**spec.get("Labels", {}), **labels}
        spec["Labels"] = {key: value for key, value in merged.items() if value is not None}
        engine.nodes.get(node).update(spec)
