"""The manager that speaks for the swarm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pyinfra import inventory
from pyinfra.api import Host
from pyinfra.api.exceptions import NoGroupError

from facts.swarm import Swarm, SwarmNode, SwarmState
from operations.api import EngineApi
from operations.known import answering, known, reaches
from operations.refusal import Refused


@dataclass(frozen=True)
class Leader:
    """A manager that answers, and what it says of its swarm."""

    host: Host
    state: SwarmState

    @property
    def api(self) -> EngineApi:
        """Its engine."""
        return EngineApi(self.host)

    @property
    def nodes(self) -> Mapping[str, SwarmNode]:
        """The swarm's nodes by ID."""
        return self.state.nodes

    @property
    def address(self) -> str:
        """Where it is, as the inventory says."""
        return str(self.host.data.address)

    @property
    def cluster_id(self) -> str:
        """The swarm's ID."""
        return self.state.membership.cluster_id if self.state.membership else ""

    def node_of(self, host: Host) -> SwarmNode:
        """The entry of a host.

        Raises:
            Refused: the host is not in this swarm.
        """
        membership = known(Swarm, of=host).membership
        if membership is None or membership.node_id not in self.nodes:
            raise Refused(
                f"{host.name} is not in the swarm of {self.host.name}; look at what failed above, then run again"
            )
        return self.nodes[membership.node_id]


def managers() -> list[Host]:
    """The hosts that the inventory wants as managers."""
    try:
        return list(inventory.get_group("managers"))
    except NoGroupError:
        return []


def readable() -> Iterator[tuple[Host, SwarmState]]:
    """Each host that answers, managers first, with its engine's words; those that do not are left out."""
    first = managers()
    yield from answering(Swarm, [*first, *(host for host in inventory if host not in first)])


def find(besides: str = "") -> Leader | None:
    """The first host that manages a swarm and can decide, be it a manager by the inventory or not yet a worker."""
    there = next((Leader(host, seen) for host, seen in readable() if seen.nodes and host.name != besides), None)
    return there or _outside_of_limit(besides)


def _outside_of_limit(besides: str) -> Leader | None:
    """A manager that `--limit` keeps out of the run: it is asked, and not changed."""
    for host in managers():
        if host.name != besides and not host.connected and reaches(host):
            with suppress(Refused):  # the next one may be readable
                if (seen := known(Swarm, of=host)).nodes:
                    return Leader(host, seen)
    return None


def required(what: str) -> Leader:
    """As `find`.

    Raises:
        Refused: there is none; `what` begins its sentence.
    """
    if leader := find():
        return leader
    silent = [host.name for host in managers() if not host.connected]
    why = f"{' and '.join(silent)} does not answer" if silent else "no manager of the inventory decides for one"
    raise Refused(f"{what}: {why}; look at what failed above, then run again")
