"""How much Prometheus may keep and take, by the node that it runs on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from image.cluster import Node
from image.settings import Prometheus

_MB = 2**20
# Of the node's memory: the rest is for the system, the other services and the page cache, which reads blocks.
_SHARE = 0.4
_LEAST, _MOST, _MOST_32 = 128, 1024, 512
_UNKNOWN = 512
# What Go tries to stay below, of the limit: the rest is what Go does not count, such as the mapped head.
_GO_SHARE = 0.8
_TIME, _TIME_32 = "15d", "3d"
_KEEPS, _KEEPS_32 = 8192, 512


@dataclass(frozen=True)
class Sizing:
    """What the template knows as `prometheus`."""

    retention_time: str
    retention_size: str
    memory: str
    """The service's limit, in docker's words."""
    go_memory: str
    """GOMEMLIMIT, in Go's words."""


def of(node: Node, chosen: Prometheus) -> Sizing:
    """What fits a node, where the owner has not said otherwise.

    A 32-bit Prometheus maps all blocks into an address space of 2 or 3 GB and dies when that is full
    (prometheus/prometheus#7450), so it keeps little. Elsewhere it keeps as much as the node has memory: queries then
    seldom read the card.
    """
    narrow = is_narrow(node)
    megabytes = node.memory // _MB
    limit = min(int(megabytes * _SHARE), _MOST_32 if narrow else _MOST) if megabytes else _UNKNOWN
    limit = max(limit, _LEAST)
    keeps = min(max(megabytes, _MOST), _KEEPS_32 if narrow else _KEEPS)
    return Sizing(
        chosen.retention_time or (_TIME_32 if narrow else _TIME),
        chosen.retention_size or f"{keeps}MB",
        f"{limit}M",
        f"{int(limit * _GO_SHARE)}MiB",
    )


def doubts(node: Node, others: Iterable[Node]) -> Iterator[str]:
    """What the owner should know of the node that was chosen; nothing where it is 64-bit."""
    if not is_narrow(node):
        return
    yield (
        f"{node.name}, the node with Prometheus' data, runs 32-bit programs ({node.platform}): Prometheus can keep "
        f"little there; {_TIME_32} and {_KEEPS_32} MB unless stack/settings.toml says otherwise"
    )
    if wide := [other.name for other in others if other.ready and not is_narrow(other)]:
        yield f"better for Prometheus, 64-bit: {', '.join(wide)}; prometheus_node in group_data/all.py chooses"


def is_narrow(node: Node) -> bool:
    """Whether the node's programs are 32-bit."""
    return node.platform.architecture == "arm"
