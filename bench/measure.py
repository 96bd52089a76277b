"""One measurement: a command's time, and the processor time that it took here and on each node."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from time import monotonic
from typing import Self

from bench import cpu
from bench.cpu import Meter
from bench.site import Site, rest
from bench.ways import Scenario, Way
from image.run import LOGS, run

_LONGEST = 900.0  # seconds


@dataclass(frozen=True)
class Measurement:
    """What one run took, in seconds."""

    scenario: Scenario
    nodes: int
    """How many hosts the run was about."""
    way: str
    wall: float
    controller: float
    """Processor time of all programs on this machine's side."""
    on_nodes: tuple[float, ...]
    """Processor time of each node, the leader first and a joining one last."""

    @property
    def on_a_node(self) -> float:
        """Processor time of the average node; of those that are in the swarm already where one joins."""
        return fmean(self.on_nodes[:-1] if self.scenario == "join" else self.on_nodes)

    @classmethod
    def take(cls, way: Way, scenario: Scenario, site: Site) -> Self:
        """Run a way's command and measure it, once the nodes are at rest.

        Raises:
            UserError: it failed.
        """
        meter = Meter.of(site.containers)
        rest(meter)
        command = way.command(scenario, site)
        log = LOGS / f"bench-{way.name.replace(' ', '-')}-{scenario}.log"
        before, here = meter.read(), cpu.of_children()
        began = monotonic()
        try:
            run(*command.argv, cwd=command.cwd, env=command.env, timeout=_LONGEST, log=log)
            wall, after = monotonic() - began, meter.read()
        finally:
            cpu.end_orphans()
        return cls(
            scenario=scenario,
            nodes=len(site.nodes),
            way=way.name,
            wall=wall,
            controller=cpu.of_children() - here,
            on_nodes=tuple(late - early for late, early in zip(after, before, strict=True)),
        )
