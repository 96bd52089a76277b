"""Where a way works: nodes of a lab, and a folder for what it needs on this machine."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

from bench.cpu import Meter
from lab import engine, keys, lifecycle
from lab.lifecycle import Status
from lab.progress import say
from lab.spec import CLONE, Lab

# Neither the demo nor another clone's measurement uses it.
LAB = Lab(f"bench-{hashlib.sha256(f'bench {CLONE}'.encode()).hexdigest()[:6]}")
_LISTS = "/var/lib/apt/lists"
_PATIENCE = 60.0  # seconds until nodes that never come to rest are measured all the same
_AT_REST = 0.03  # of a processor core, a node


@dataclass(frozen=True)
class Site:
    """The nodes in play, the leader first, and a private folder."""

    lab: Lab
    nodes: tuple[Status, ...]
    work: Path

    def first(self, count: int) -> Site:
        """The same place with fewer nodes."""
        return replace(self, nodes=self.nodes[:count])

    @property
    def containers(self) -> tuple[str, ...]:
        """What the engine calls the nodes."""
        return tuple(node.container for node in self.nodes)

    @property
    def key(self) -> Path:
        """The ssh key that opens the nodes."""
        return keys.key_path(self.lab)

    @property
    def known_hosts(self) -> Path:
        """The nodes' own ssh keys."""
        return keys.known_hosts_path(self.lab)


@contextmanager
def fresh(count: int, tag: str) -> Iterator[Site]:
    """Nodes from the image `tag`, or blank ones; nothing is left of them afterwards, however that comes."""
    lifecycle.down(LAB)  # what a killed run left
    work = Path(tempfile.mkdtemp(prefix="bench-"))  # a short path: ssh's sockets lie there
    try:
        nodes = tuple(lifecycle.up(LAB, count, tag))
        _with_fresh_lists(nodes)
        yield Site(LAB, nodes, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lifecycle.down(LAB)


def _with_fresh_lists(nodes: Iterable[Status]) -> None:
    """Let apt's lists look as new as the packages at hand are, so that no way has a reason to get others."""
    client = engine.connect()
    for node in nodes:
        client.containers.get(node.container).exec_run(["touch", _LISTS, f"{_LISTS}/partial"])


def rest(meter: Meter) -> None:
    """Wait until the nodes have nothing to do, so that no run pays for the one before."""
    end = monotonic() + _PATIENCE
    while monotonic() < end:
        before = sum(meter.read())
        sleep(1)
        if sum(meter.read()) - before < _AT_REST * len(meter.counters):
            return
    say(f"the nodes do not come to rest within {_PATIENCE:.0f} s: the next number is less sure")
