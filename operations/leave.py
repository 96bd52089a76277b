"""How a host gets rid of its work, of its place in the swarm, and of all that the cluster made on it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from pyinfra import host, logger, state
from pyinfra.api import Host, QuoteString, StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.engine import TLS_FOLDER
from facts.swarm import Swarm, SwarmNode, SwarmState
from facts.tls import CERTS_D, HTPASSWD, Tls, TlsState
from operations import leader
from operations.api import EngineApi
from operations.drain import drain
from operations.known import converges, known
from operations.leader import Leader
from operations.quorum import objection_to_remove
from operations.refusal import OnController, Refused
from operations.swarm import demote, former_entries
from pki.certificate import shared
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
def drained(required: bool) -> Generator[PyinfraCommand, None, None]:
    """Have this host's tasks run on other nodes, and give it no new ones; also where its own engine stands still.

    Args:
        required: whether a member that no manager speaks for is refused; a host may leave without.
    """
    seen = known(Swarm)
    there = leader.find()
    if required and not there and (seen.advertised or (seen.membership and seen.membership.inside)):
        raise Refused("draining it: no manager of its swarm answers; bring one back, then run again")
    entry = _entry(there, seen) if there else None
    if not there or not entry:
        host.noop("no swarm gives it work")
        return
    if entry.availability == "drain":
        host.noop("already drained")
        return
    yield OnController("moving its tasks to other nodes", lambda: _drain(there, entry.id))


def _drain(there: Leader, node: str) -> None:
    if stay := drain(there.host, node):
        logger.warning(f"[{host.name}] these services have no other node to run on and stand still: {', '.join(stay)}")


@dataclass(frozen=True)
class Farewell:
    """How a host gets out of its swarm, and what stands against it."""

    there: Leader | None
    """Another manager, which forgets the host's entry; one that leaves cannot do that for itself."""
    entry: SwarmNode | None
    objection: str
    """For a person; empty if the host may go."""

    @classmethod
    def of(cls, ends: bool, wipes: bool) -> Farewell:
        """Of the host that the operation runs on.

        Args:
            ends: whether a person has said that the swarm may end with this.
            wipes: whether the engine is removed afterwards, so that it need not leave by itself.
        """
        seen = known(Swarm)
        there = leader.find(besides=host.name)
        if seen.membership is None and seen.advertised and not wipes:
            return cls(
                there, None, "its engine does not run, so it cannot leave; start it (`sudo systemctl start docker`)"
            )
        entry = _entry(there, seen) if there else None
        if not (entry or (seen.membership and seen.membership.inside)):
            return cls(there, None, "")
        return cls(there, entry, _objection(there, entry, seen, ends))


def _entry(there: Leader, seen: SwarmState) -> SwarmNode | None:
    """What another manager lists of this host, be it a member or one that went without being forgotten."""
    if seen.membership and seen.membership.node_id in there.nodes:
        return there.nodes[seen.membership.node_id]
    if seen.membership and seen.membership.inside:
        return None  # in another swarm
    former = former_entries(there, "", seen.advertised or str(host.data.address))
    return former[0] if former else None


def _objection(there: Leader | None, entry: SwarmNode | None, seen: SwarmState, ends: bool) -> str:
    """Why the swarm cannot do without this host; a swarm that ends with it has to be given up by a person."""
    listed, why = seen.nodes, "no other manager decides for it"
    if there and entry:
        listed, why = there.nodes, objection_to_remove(there.nodes.values(), entry.id)
    if not why:
        return ""
    going = {member.membership.node_id for other, member in leader.readable() if _goes(other) and member.membership}
    stay = [node for node in listed.values() if node.id not in going and node.id != (entry.id if entry else "")]
    if up := sorted(node.hostname or node.id for node in stay if node.state == "ready"):
        return (
            f"{why}, and {', '.join(up)} would be left without a quorum; bring the other managers back or make another"
            " host one first, or let all of them leave in one run"
        )
    manages = bool(seen.membership and (seen.membership.role == "manager" or seen.membership.state == "locked"))
    if not ends and (manages or stay):
        return (
            f"{why}, so the swarm may end with it, with all services, secrets and configs;"
            " add --data yes=true if that is what you mean"
        )
    return ""


def _goes(other: Host) -> bool:
    """Whether a host is one that this run still works on."""
    return other in state.active_hosts


@converges()
def may_leave(ends: bool, wipes: bool) -> Generator[PyinfraCommand, None, None]:
    """Stop before anything is done to a host that its swarm cannot do without; see `Farewell.of`."""
    if objection := Farewell.of(ends, wipes).objection:
        raise Refused(f"leaving the swarm: {objection}")
    host.noop("nothing stands against it")
    yield from ()


@converges(Swarm, everywhere=True)
def left(now: bool, ends: bool, wipes: bool, folder: Path) -> Generator[PyinfraCommand, None, None]:
    """Take this host out of its swarm and its entry out of the managers' list, if the quorum holds without it.

    Args:
        now: whether this line of the deploy is the host's turn; managers go after the workers, one by one.
        ends, wipes: see `Farewell.of`.
        folder: the cluster's, which forgets a swarm that its last manager has left.
    """
    membership = known(Swarm).membership
    farewell = Farewell.of(ends, wipes)
    inside = membership is not None and membership.inside
    if not now or not (inside or farewell.entry):
        host.noop("in no swarm, or not its turn")
        return
    if farewell.objection:
        raise Refused(f"leaving the swarm: {farewell.objection}")
    yield OnController("leaving the swarm", lambda: _leave(farewell, inside, folder))


def _leave(farewell: Farewell, inside: bool, folder: Path) -> None:
    there, entry = farewell.there, farewell.entry
    forgets = there and entry and not objection_to_remove(there.nodes.values(), entry.id)
    if there and entry and forgets and entry.role == "manager":
        demote(there, entry.id)
    if inside:
        EngineApi(host).post("/swarm/leave?force=true")
    if there and entry and forgets:
        there.api.delete(f"/nodes/{entry.id}?force=true")
    elif (cluster_id := swarm_id(folder)) and cluster_id == _cluster_id():
        keep_swarm_id(folder, "")
        keep_unlock_key(folder, "")


def _cluster_id() -> str:
    """The ID of the swarm that this host managed when it was last asked."""
    membership = known(Swarm).membership
    return membership.cluster_id if membership else ""


@converges(Tls)
def uncertified() -> Generator[PyinfraCommand, None, None]:
    """Forget the engine's key and certificate, the trust in the registry, and who the registry lets in."""
    found = known(Tls)
    trusted = ours(found)
    if not (found.ca or found.server_certificate or found.public_key or trusted or found.htpasswd):
        host.noop("has none")
        return
    # The CA's certificate last: a run that was cut off would not know the trust for ours without it.
    yield StringCommand("rm -rf", *(QuoteString(f"{CERTS_D}/{name}") for name in trusted), HTPASSWD, TLS_FOLDER)


def ours(found: TlsState) -> list[str]:
    """The registries that the engine trusts for the cluster's CA; what a person has it trust beside them stays."""
    return [registry for registry, ca in found.trusted.items() if shared(ca, found.ca)]
