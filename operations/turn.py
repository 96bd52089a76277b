"""A member of the swarm stops for a moment: its work goes elsewhere first, and the swarm can decide all the while.

Only one host at a time may have its turn: call operations that use this with `_serial`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyinfra import host, inventory, logger, state
from pyinfra.api.command import PyinfraCommand

from facts.swarm import Swarm, SwarmNode
from operations import autolock, leader
from operations.api import EngineApi, EngineError
from operations.attempt import notice
from operations.drain import await_ready, drain, set_availability
from operations.known import forget, known
from operations.leader import Leader
from operations.quorum import objection_to_stop
from operations.refusal import OnController, Refused
from operations.swarm import await_active

# Seconds in which a manager that has just been started is back, and in which nodes find a new leader.
_PATIENCE = 60
# Seconds in which the engine of a host that has just been rebooted answers; a slow card needs minutes.
_STARTS_WITHIN = 300


@dataclass(frozen=True)
class Outcome:
    """What became of the work during a turn."""

    failure: str
    """For a person; empty if all went well."""
    runs: bool
    """Whether the engine runs again all the same."""


def taken(
    what: str, folder: Path, work: Callable[[], Generator[PyinfraCommand, None, Outcome]]
) -> Generator[PyinfraCommand, None, None]:
    """Do `work`, which stops this host's engine for a moment, while the node is drained.

    Args:
        what: begins the sentence where it must not be.
        folder: the cluster's, which keeps the key that a locked manager asks for.

    Raises:
        Refused: this host's or an earlier one's turn failed, or there must be none.
    """
    if failed := _failed_before():
        raise Refused(f"{what}: stays as it is, for that failed on {failed} (above); mend it, then run again")
    seat = _seat(what)
    if seat and seat.locks:
        yield OnController(
            "keeping the key that it will ask for", lambda: autolock.keep_current(seat.there.api, folder)
        )
    if seat and seat.drains:
        yield OnController("draining the node", seat.drain)
    outcome = yield from work()
    if outcome.runs and seat:
        yield OnController(
            f"bringing the node back{' (drained until deploys/swarm.py runs again)' if seat.drains else ''}",
            lambda: seat.await_return(folder),
        )
        if seat.drains:
            yield OnController("giving the node work again", seat.open)
    if outcome.failure:
        raise Refused(outcome.failure)


@dataclass(frozen=True)
class _Seat:
    """A host's place in the swarm, and the manager through which to change it."""

    there: Leader
    node: SwarmNode

    @property
    def drains(self) -> bool:
        """Whether work can and has to move: not from a node that has none, and not where there is no other."""
        others = (node for node in self.there.nodes.values() if node.id != self.node.id)
        return (
            self.node.state == "ready"
            and self.node.availability != "drain"
            and any(node.state == "ready" and node.availability == "active" for node in others)
        )

    @property
    def locks(self) -> bool:
        """Whether it asks for a key when it comes back."""
        return self.node.role == "manager" and self.there.state.autolocked

    def drain(self) -> None:
        if left := drain(self.there.host, self.node.id):
            host.log_styled(
                f"{', '.join(left)}: with fewer tasks, or none, until the node is back, for no other node takes them",
                fg="yellow",
                log_func=logger.warning,
            )

    def await_return(self, folder: Path) -> None:
        """Wait until the node takes part in the swarm, by its own word and by the other manager's."""
        own = EngineApi(host)
        if _place_of(own) == "locked":
            autolock.unlock(host, folder)
        else:
            await_active(own)
        await_ready(self.there.host, self.node.id)
        if self.node.role == "manager":
            await_ready(host, self.node.id)
        # A new leader takes all nodes for unknown until they have found it, and an unknown one is not drained.
        others = [node.id for node in self.there.nodes.values() if node.state == "ready"]
        with suppress(ValueError):
            await_ready(self.there.host, *others, patience=_PATIENCE)

    def open(self) -> None:
        set_availability(self.there.host, self.node.id, self.node.availability)


def _failed_before() -> str:
    """Another host at which this operation failed, where that could cost the swarm one more member."""
    membership = known(Swarm).membership
    if membership is None or not membership.inside:
        return ""
    # Who failed at an earlier operation is not active any more.
    failed = (other.name for other in state.active_hosts if state.get_results_for_host(other).error_ops)
    return next(failed, "")


def _place_of(api: EngineApi) -> str:
    """What an engine says of its place in the swarm, once it answers.

    Raises:
        ValueError: it does not answer in time.
    """
    end = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            return str(api.get("/info")["Swarm"]["LocalNodeState"])
        except EngineError:
            if time.monotonic() > end:
                raise
        time.sleep(1)


def _seat(what: str) -> _Seat | None:
    """The host's place, if a manager decides for its swarm.

    Raises:
        Refused: the swarm could not decide without this host, or cannot already.
    """
    membership = known(Swarm).membership
    if membership is None or not membership.inside:
        return None
    end = time.monotonic() + _PATIENCE
    while True:
        there = _decides()
        node = there.nodes.get(membership.node_id) if there else None
        objection = objection_to_stop(there.nodes.values(), node.id) if there and node else "no manager decides for it"
        if there and node and not objection:
            return _Seat(there, node)
        if not state.is_executing or time.monotonic() > end:
            break
        time.sleep(1)
    if node or membership.role == "manager":
        raise Refused(f"{what}: {objection}; bring the other managers back, then run again")
    notice("no manager of its swarm answers, so its work cannot move: it is interrupted for a moment")
    return None


def _decides() -> Leader | None:
    """A manager with what it knows just now, not this host if there is another."""
    for other in inventory:
        forget(other, Swarm)
    return leader.find(besides=host.name) or leader.find()
