"""How a host gets rid of its work, of its place in the swarm, and of all that the cluster made on it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from pyinfra import host, logger, state
from pyinfra.api import Host, QuoteString, StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.engine import TLS_FOLDER
from facts.swarm import Swarm, SwarmNode
from facts.tls import CERTS_D, HTPASSWD, Tls
from operations import leader
from operations.api import EngineApi
from operations.drain import drain
from operations.known import converges, known
from operations.leader import Leader
from operations.quorum import objection_to_remove
from operations.refusal import OnController, Refused
from operations.swarm import demote
from pki.records import keep_swarm_id, keep_unlock_key, swarm_id

_ANSWER = "yes"


@converges()
def consented(consent: object, what: str) -> Generator[PyinfraCommand, None, None]:
    """Ask the person at the terminal for this host's word, unless `consent` is True (`--data yes=true`).

    Args:
        what: what will be lost, for the question.
    """
    if consent is True:
        host.noop("was said on the command line")
        return
    yield OnController("asking", lambda: _ask(f"{host.name} ({host.data.address}): {what}"))


def _ask(question: str) -> None:
    try:
        answer = input(f"\n    {question}\n    Type {_ANSWER} to go on: ")
    except EOFError:
        raise ValueError("nobody is there to answer; add --data yes=true if you mean it") from None
    if answer.strip().lower() != _ANSWER:
        raise ValueError("you did not say yes; it stays as it is")


@converges(Swarm, everywhere=True)
def drained() -> Generator[PyinfraCommand, None, None]:
    """Have this host's tasks run on other nodes, and give it no new ones."""
    membership = known(Swarm).membership
    there = leader.find()
    if not there or not membership or membership.node_id not in there.nodes:
        host.noop("no swarm gives it work")
        return
    if there.nodes[membership.node_id].availability == "drain":
        host.noop("already drained")
        return
    yield OnController("moving its tasks to other nodes", lambda: _drain(there, membership.node_id))


def _drain(there: Leader, node: str) -> None:
    if stay := drain(there.host, node):
        logger.warning(f"[{host.name}] these services have no other node to run on and stand still: {', '.join(stay)}")


@converges(Swarm, everywhere=True)
def left(now: bool, folder: Path) -> Generator[PyinfraCommand, None, None]:
    """Take this host out of its swarm and its entry out of the managers' list, if the quorum holds without it.

    Args:
        now: whether this line of the deploy is the host's turn; managers go after the workers, one by one.
        folder: the cluster's, which forgets a swarm that its last manager has left.
    """
    membership = known(Swarm).membership
    if not now or not membership or not membership.inside:
        host.noop("in no swarm, or not its turn")
        return
    # Through another manager: one that leaves cannot take its own entry out of the list.
    there = leader.find(besides=host.name)
    entry = there.nodes.get(membership.node_id) if there else None
    if there and entry:
        objection = objection_to_remove(there.nodes.values(), entry.id)
        if not objection:
            yield OnController("leaving the swarm", lambda: _leave(there, entry))
            return
        stay = _staying(there.nodes.values())
    else:
        objection = "no other manager decides for it"
        stay = _staying(known(Swarm).nodes.values())
    if stay:
        raise Refused(
            f"leaving the swarm: {objection}, and {', '.join(stay)} would be left without a quorum; bring the other"
            " managers back or make another host one first, or let all of them leave in one run"
        )
    yield OnController("leaving the swarm", lambda: _leave_alone(membership.cluster_id, folder))


def _leave_alone(cluster_id: str, folder: Path) -> None:
    """Leave a swarm that is no more without this host, or whose managers do not answer."""
    EngineApi(host).post("/swarm/leave?force=true")
    if cluster_id and cluster_id == swarm_id(folder):
        keep_swarm_id(folder, "")
        keep_unlock_key(folder, "")


def _staying(nodes: Iterable[SwarmNode]) -> list[str]:
    """The names of the nodes that are up and that this run does not take out of their swarm."""
    going = {seen.membership.node_id for other, seen in leader.readable() if _leaves(other) and seen.membership}
    return sorted(node.hostname or node.id for node in nodes if node.id not in going and node.state == "ready")


def _leaves(other: Host) -> bool:
    """Whether a host is one that this run still works on."""
    return other in state.active_hosts


def _leave(there: Leader, entry: SwarmNode) -> None:
    if entry.role == "manager":
        demote(there, entry.id)
    EngineApi(host).post("/swarm/leave?force=true")
    there.api.delete(f"/nodes/{entry.id}?force=true")


@converges(Tls)
def uncertified() -> Generator[PyinfraCommand, None, None]:
    """Forget the engine's key and certificate, the trust in the registry, and who the registry lets in."""
    found = known(Tls)
    if not (found.ca or found.server_certificate or found.public_key or found.trusted or found.htpasswd):
        host.noop("has none")
        return
    yield StringCommand(
        f"rm -rf {TLS_FOLDER} {HTPASSWD}", *(QuoteString(f"{CERTS_D}/{name}") for name in found.trusted)
    )
