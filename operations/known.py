"""What is known of a host while a run lasts.

The first question about a host reads all its parts in one round trip; later ones are answered from memory,
until an operation that `converges` a part has changed something. pyinfra itself asks a host anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from threading import RLock
from typing import Any, ClassVar, Final, ParamSpec, TypeVar, cast

from pyinfra import host as this_host
from pyinfra import inventory, state
from pyinfra.api import FactBase, Host, operation
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import get_fact

import facts.host
from facts.clock import TimeServers
from facts.engine import Engine
from facts.firewall import Firewall
from facts.metrics import Metrics
from facts.network import Network
from facts.part import Part, command_for
from facts.sections import sections
from facts.swarm import Swarm, SwarmState
from facts.tls import Tls
from operations.refusal import Refusal, Refused

T = TypeVar("T")
P = ParamSpec("P")

PARTS: Final[tuple[type[Part[Any]], ...]] = (
    facts.host.Host,
    TimeServers,
    Network,
    Engine,
    Tls,
    Swarm,
    Firewall,
    Metrics,
)
_TIMEOUT = 90  # seconds; a Pi with a bad card is slow, one that hangs must not hold up the others for ever


class Everything(FactBase[dict[type[Part[Any]], Any]]):
    """Each of `parts` with its value, or with the FactProcessError that reading it gave. One round trip."""

    parts: ClassVar[Sequence[type[Part[Any]]]] = PARTS

    def command(self) -> str:
        return command_for(self.parts)

    @staticmethod
    def default() -> dict[type[Part[Any]], Any]:
        return {}

    def process(self, output: Iterable[str]) -> dict[type[Part[Any]], Any]:
        found = sections(output)
        return {part: _value(part, found) for part in self.parts}


def _value(part: type[Part[Any]], found: Mapping[str, str]) -> object:
    try:
        return part().of(found)
    except FactProcessError as error:
        return error


class _Memory:
    """What one host's connection remembers."""

    def __init__(self) -> None:
        self.lock = RLock()  # other hosts' operations ask, too; pyinfra has made it one of gevent's
        self.parts: dict[type[Part[Any]], Any] = {}
        self.silent = False
        self.failed = False
        """Whether it could not be read: then nobody has to wait for it again."""


def _memory(of: Host) -> _Memory:
    """A host's memory; it lives as long as pyinfra's own value of the host, in the place kept for such things."""
    return cast("_Memory", of.connector_data.setdefault("known", _Memory()))


def known(part: type[Part[T]], of: Host | None = None) -> T:
    """What is true of a host, by default the one that the operation runs on.

    Raises:
        Refused: the host does not say, or says something else than it was asked for.
    """
    of = this_host if of is None else of
    memory = _memory(of)
    with memory.lock:
        if not (memory.parts or memory.failed):
            read_all = _read(of, Everything)
            memory.parts |= read_all or {}
            memory.failed = not memory.parts
        if not (part in memory.parts or memory.failed):
            read = _read(of, part)
            memory.parts |= {} if read is None else {part: read}
            memory.failed = read is None
        value = memory.parts.get(part)
    if value is None or isinstance(value, FactProcessError):
        why = f": {value}" if value else ", for the reason above"
        raise Refused(f"what is true of {of.name} could not be read{why}; nothing was changed")
    return cast("T", value)


def answering(part: type[Part[T]], hosts: Iterable[Host]) -> Iterator[tuple[Host, T]]:
    """Those of `hosts` that answer, with what is true of them; another fails by itself, with its reason."""
    for of in hosts:
        if of.connected:
            with suppress(Refused):
                yield of, known(part, of=of)


def _read(of: Host, fact: type[FactBase[T]]) -> T | None:
    """Ask a host; None where it does not answer, and has said why."""
    # pyinfra would end the whole run here, with a traceback, if no other host were left. It fails with its operation.
    read: T | None = get_fact(of.state, of, fact, kwargs={"_timeout": _TIMEOUT}, apply_failed_hosts=False)
    return read


def reaches(of: Host) -> bool:
    """Whether a host answers, also one that `--limit` keeps out of the run: it is then connected, once."""
    memory = _memory(of)
    with memory.lock:
        if not of.connected and not memory.silent and not state.is_host_in_limit(of):
            of.connect(reason="outside of --limit: it is asked, not changed", show_errors=False)
            memory.silent = not of.connected
        return of.connected


def forget(of: Host, *parts: type[Part[Any]]) -> None:
    """Read these parts of a host anew when they are next asked for."""
    memory = _memory(of)
    with memory.lock:  # what is being read now is of before the change
        memory.failed = False
        for part in parts:
            memory.parts.pop(part, None)


def _managers() -> Iterator[Host]:
    """The hosts that were found to list a swarm's nodes."""
    for other in inventory:
        found = _memory(other).parts.get(Swarm)
        if isinstance(found, SwarmState) and found.nodes:
            yield other


def converges(
    *parts: type[Part[Any]], everywhere: bool = False
) -> Callable[[Callable[P, Generator[PyinfraCommand, None, None]]], PyinfraOperation[P]]:
    """Makes an operation of a generator that may change these parts of its host.

    A `Refused` that is raised inside fails this host with its sentence, and no other.

    Args:
        everywhere: it may change these parts of the swarm's managers, too, who list all nodes.
    """

    def decorator(function: Callable[P, Generator[PyinfraCommand, None, None]]) -> PyinfraOperation[P]:
        @wraps(function)
        def converging(*args: P.args, **kwargs: P.kwargs) -> Generator[PyinfraCommand, None, None]:
            try:
                for command in function(*args, **kwargs):
                    try:
                        yield command
                    finally:
                        # Also where the command failed; while pyinfra only prepares, nothing has run.
                        if state.is_executing:
                            forget(this_host, *parts)
                            for manager in _managers() if everywhere else ():
                                forget(manager, *parts)
            except (Refused, ValueError, OSError) as error:
                # Also a file of the controller's that cannot be read: what leaves here would end all hosts' run.
                yield Refusal(str(error))

        return operation()(converging)

    return decorator
