"""Measurements as tables: medians, spreads, and how the ways compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self, TypeVar

from bench.measure import Measurement
from bench.ways import FLOOR, MITOGEN, OURS, WAYS, Scenario

TITLES: dict[Scenario, str] = {
    "cold": "Cold: blank hosts become a swarm",
    "nothing": "Nothing to do: the same once more",
    "join": "Join: one more host, to a swarm of so many",
}
T = TypeVar("T")
_UNKNOWN = "–"


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some seconds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """None where nothing was measured."""
        return cls(median(values), min(values), max(values)) if values else None

    def __str__(self) -> str:
        ends = f" ({self.low:.2f}–{self.high:.2f})" if self.low < self.high else ""
        return f"{self.median:.2f}{ends}"


def ratio(mine: Spread | None, other: Spread | None) -> float | None:
    """How many times the other's median this one is; None where one was not measured."""
    return mine.median / other.median if mine and other else None


@dataclass(frozen=True)
class Results:
    """All measurements of one run."""

    measurements: tuple[Measurement, ...]

    def sizes(self, scenario: Scenario) -> list[int]:
        """How many hosts the scenario was measured with; for a join, before it."""
        return sorted({_size(one) for one in self.measurements if one.scenario == scenario})

    def spread(
        self, scenario: Scenario, size: int, way: str, of: Callable[[Measurement], float] = lambda one: one.wall
    ) -> Spread | None:
        """Of the wall time or another value; None where it was not measured."""
        return Spread.of(
            [of(one) for one in self.measurements if (one.scenario, _size(one), one.way) == (scenario, size, way)]
        )

    def ratio(self, scenario: Scenario, size: int, way: str, to: str) -> float | None:
        """How many times the median wall time of the way `to` this way's is."""
        return ratio(self.spread(scenario, size, way), self.spread(scenario, size, to))

    def growth(self, way: str) -> float | None:
        """How many times as long the run with most light hosts takes as the one with the fewest."""
        sizes = self.sizes("light")
        ends = [self.spread("light", size, way) for size in (sizes[:1] + sizes[1:][-1:])]
        return ratio(ends[1], ends[0]) if len(ends) == 2 else None


def _size(one: Measurement) -> int:
    return one.nodes - 1 if one.scenario == "join" else one.nodes


def in_turn(ways: Sequence[T], turn: int) -> list[T]:
    """Another way comes first in each round."""
    first = turn % len(ways)
    return [*ways[first:], *ways[:first]]


def tables(results: Results) -> str:
    """All tables, as Markdown."""
    parts = [_scenario(results, scenario) for scenario in TITLES if results.sizes(scenario)]
    if results.sizes("light"):
        parts.append(_growth(results))
    return "\n\n".join(filter(None, [*parts, _goals(results)]))


def _scenario(results: Results, scenario: Scenario) -> str:
    rows = []
    for size in results.sizes(scenario):
        for way in (way.name for way in WAYS.values()):
            wall = results.spread(scenario, size, way)
            if wall is None:
                continue
            here = results.spread(scenario, size, way, lambda one: one.controller)
            there = results.spread(scenario, size, way, lambda one: one.on_a_node)
            ratios = (times(results.ratio(scenario, size, way, to)) for to in (FLOOR.name, MITOGEN.name))
            rows.append([str(size), way, str(wall), *ratios, str(here), str(there)])
    node = "CPU of an old node, s" if scenario == "join" else "CPU of a node, s"
    head = ["hosts", "way", "time, s", "× floor", "× Mitogen", "CPU here, s", node]
    return f"### {TITLES[scenario]}\n\n{markdown(head, rows)}"


def _growth(results: Results) -> str:
    sizes = results.sizes("light")
    rows = [
        [way.name, *(str(results.spread("light", size, way.name) or _UNKNOWN) for size in sizes), times(ratio)]
        for way in WAYS.values()
        if (ratio := results.growth(way.name)) is not None
    ]
    head = ["way", *(f"{size} hosts, s" for size in sizes), "ratio"]
    return f"### Growth: nothing to do on hosts without an engine\n\n{markdown(head, rows)}"


def _goals(results: Results) -> str:
    ours, floor, mitogen = OURS.name, FLOOR.name, MITOGEN.name
    rows = []
    for size in results.sizes("nothing"):
        node = results.spread("nothing", size, ours, lambda one: one.on_a_node)
        rows += [
            at_most(f"nothing to do, {size} hosts: × floor", 3, results.ratio("nothing", size, ours, floor)),
            at_least(f"nothing to do, {size} hosts: Mitogen × ours", 4, results.ratio("nothing", size, mitogen, ours)),
            at_most(f"nothing to do, {size} hosts: CPU of a node, s", 0.4, node.median if node else None),
            at_most(f"cold, {size} hosts: × floor", 1.3, results.ratio("cold", size, ours, floor)),
            at_most(f"join to {size} hosts: × floor", 1.5, results.ratio("join", size, ours, floor)),
        ]
    rows = [row for row in [*rows, at_most("growth, × the fewest hosts", 2.5, results.growth(ours))] if row]
    return f"### Goals\n\n{markdown(['what', 'goal', 'measured', 'met'], rows)}" if rows else ""


def at_most(what: str, goal: float, value: float | None) -> list[str]:
    """A row of goals; empty where nothing was measured."""
    return [] if value is None else [what, f"≤ {goal:g}", f"{value:.2f}", "yes" if value <= goal else "no"]


def at_least(what: str, goal: float, value: float | None) -> list[str]:
    """As at_most."""
    return [] if value is None else [what, f"≥ {goal:g}", f"{value:.2f}", "yes" if value >= goal else "no"]


def times(ratio: float | None) -> str:
    """A ratio as tables show it."""
    return _UNKNOWN if ratio is None else f"{ratio:.2f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that reads well as plain text, too."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def place(page: str, text: str, writer: str = "provision") -> str:
    """The page with `text` between two markers, the first of which names the writer, `bench/WRITER.py`.

    Raises:
        ValueError: it lacks one of them.
    """
    start, end = f"<!-- results: written by bench/{writer}.py -->", "<!-- end of results -->"
    before, opened, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"the page lacks the line {start!r} or {end!r}")
    return f"{before}{start}\n\n{text}\n\n{end}{after}"
