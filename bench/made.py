"""What was measured of building, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from bench.makers import FLOOR, MAKERS, OURS, Scenario
from bench.report import Spread, at_most, markdown, ratio, times

TITLES: dict[Scenario, str] = {
    "cold": "Cold: modules are there, and nothing is compiled yet",
    "nothing": "Nothing to do: the same once more",
}
PACKING = "packing, after it"
ALONE: dict[Scenario, str] = {"all": "build-all, all images", "deploy": "deploy"}
"""What no other way does."""


@dataclass(frozen=True)
class Made:
    """What one run took, in seconds."""

    scenario: Scenario
    way: str
    wall: float
    here: float
    """Processor time of all programs on this machine's side."""
    node: float
    """Processor time of the node with the registry, whose engine has BuildKit."""


@dataclass(frozen=True)
class Results:
    """All measurements of one run."""

    all: Collection[Made]

    def spread(self, scenario: Scenario, way: str, of: Callable[[Made], float] = lambda one: one.wall) -> Spread | None:
        """Of the wall time or another value; None where it was not measured."""
        return Spread.of([of(one) for one in self.all if (one.scenario, one.way) == (scenario, way)])

    def ratio(self, scenario: Scenario, way: str, to: str) -> float | None:
        """How many times the median wall time of the way `to` this way's is."""
        return ratio(self.spread(scenario, way), self.spread(scenario, to))


def tables(results: Results) -> str:
    """All tables, as Markdown."""
    parts = [_scenario(results, scenario, title) for scenario, title in TITLES.items()]
    return "\n\n".join(filter(None, [*parts, _alone(results), _goals(results)]))


def _scenario(results: Results, scenario: Scenario, title: str) -> str:
    rows = [row for maker in MAKERS.values() if (row := _row(results, scenario, maker.name))]
    if scenario == "cold" and (packing := _row(results, "packed", PACKING)):
        rows.append([*packing[:2], "", *packing[3:]])
    return _table(title, rows, f"× {FLOOR.name}") if rows else ""


def _alone(results: Results) -> str:
    rows = [row for scenario, way in ALONE.items() if (row := _row(results, scenario, way))]
    return _table("Nothing to do: all of it", [[*row[:2], *row[3:]] for row in rows]) if rows else ""


def _row(results: Results, scenario: Scenario, way: str) -> list[str]:
    wall = results.spread(scenario, way)
    here, node = (results.spread(scenario, way, of) for of in (lambda one: one.here, lambda one: one.node))
    return [way, str(wall), times(results.ratio(scenario, way, FLOOR.name)), str(here), str(node)] if wall else []


def _table(title: str, rows: list[list[str]], *ratio: str) -> str:
    return f"#### {title}\n\n{markdown(['way', 'time, s', *ratio, 'CPU here, s', 'CPU of the node, s'], rows)}"


def _goals(results: Results) -> str:
    every, deploy = (results.spread(scenario, way) for scenario, way in ALONE.items())
    rows = [
        at_most(f"cold: × {FLOOR.name}", 1.1, results.ratio("cold", OURS.name, FLOOR.name)),
        at_most(f"nothing to do: × {FLOOR.name}", 1, results.ratio("nothing", OURS.name, FLOOR.name)),
        at_most("nothing to do, all images, s", 1, every.median if every else None),
        at_most("deploy of an unchanged stack, s", 2, deploy.median if deploy else None),
    ]
    rows = [row for row in rows if row]
    return f"#### Goals\n\n{markdown(['what', 'goal', 'measured', 'met'], rows)}" if rows else ""
