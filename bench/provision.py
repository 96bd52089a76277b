"""`python -m bench.provision`: the same work by several ways, on fresh virtual Pis, in the same minutes."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata

import click
from docker.errors import DockerException

from bench import cpu, endstate, machine, peers, report
from bench.measure import Measurement
from bench.report import Results
from bench.site import Site, fresh
from bench.ways import BENCH, FLOOR, OURS, PLAIN, WAYS, Scenario, Way, write_files
from image.errors import UserError
from image.run import run
from lab.progress import say

_README = BENCH / "README.md"
_LIGHT = (3, 30)


@dataclass
class Log:
    """What was measured so far, and what failed."""

    taken: list[Measurement] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def take(self, way: Way, scenario: Scenario, site: Site) -> None:
        """Measure once."""
        one = Measurement.take(way, scenario, site)
        say(f"{scenario}, {len(site.nodes)} hosts, {way.name}: {one.wall:.2f} s")
        self.taken.append(one)

    @contextmanager
    def survives(self, what: str) -> Iterator[None]:
        """A failed run is written down, and the others are worth having all the same."""
        try:
            yield
        except (UserError, DockerException) as error:
            self.failed.append(f"{what}: {error}")
            say(self.failed[-1])


def swarms(log: Log, ways: Sequence[Way], sizes: Sequence[int], rounds: int, plain_rounds: int) -> None:
    """Measure each way with each size, in turns."""
    blank, with_python = peers.images()
    for turn in range(rounds):
        for size in sizes:
            for way in report.in_turn(ways, turn):
                if way != PLAIN or turn < plain_rounds:
                    swarm(log, way, size, with_python if way.needs_python else blank)


def swarm(log: Log, way: Way, size: int, tag: str) -> None:
    """Blank hosts become a swarm; then nothing is to do; then one more host joins."""
    what = f"{way.name} with {size} hosts"
    with log.survives(what), fresh(size + 1, tag) as all_of_it:
        site = all_of_it.first(size)
        write_files(way, site)
        log.take(way, "cold", site)
        with log.survives(what):
            endstate.check(site)
        log.take(way, "nothing", site)
        write_files(way, all_of_it)
        log.take(way, "join", all_of_it)
        with log.survives(what):
            endstate.check(all_of_it)


def growth(log: Log, ways: Sequence[Way], sizes: Sequence[int], rounds: int) -> None:
    """Measure how a run with nothing to do grows with hosts that have no engine."""
    blank, _ = peers.images()
    with log.survives(f"{max(sizes)} light hosts"), fresh(max(sizes), blank) as site:
        for turn in range(rounds):
            for size in sizes:
                for way in report.in_turn(ways, turn):
                    some = site.first(size)
                    write_files(way, some)
                    Measurement.take(way, "light", some)  # after it there is nothing left to do
                    log.take(way, "light", some)


@click.command()
@click.option(
    "--nodes",
    "sizes",
    type=click.IntRange(2, 20),
    multiple=True,
    default=(3, 6),
    show_default=True,
    help="With how many hosts; may be repeated.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each is measured.")
@click.option(
    "--plain-rounds",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="How often Ansible without Mitogen is, which takes longest.",
)
@click.option("--way", "keys", type=click.Choice(list(WAYS)), multiple=True, help="Only this; may be repeated.")
@click.option("--swarms/--no-swarms", "with_swarms", default=True, help="Whether to make swarms.")
@click.option("--growth/--no-growth", "with_growth", default=True, help="Whether to go to 30 hosts without an engine.")
@click.option("--json", "as_json", is_flag=True, help="All measurements, for programs.")
@click.option("--write", is_flag=True, help="Put the tables into bench/README.md.")
def main(
    sizes: tuple[int, ...],
    rounds: int,
    plain_rounds: int,
    keys: tuple[str, ...],
    with_swarms: bool,
    with_growth: bool,
    as_json: bool,
    write: bool,
) -> None:
    """Measure how long it takes to make a swarm of virtual Pis: this project, its peers, and plain ssh."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the lab is removed then, too
    cpu.adopt_orphans()
    peers.ensure_venv()
    about = machine.describe(shlex.join(["python", "-m", "bench.provision", *sys.argv[1:]]), _versions())
    ways = [way for key, way in WAYS.items() if not keys or key in keys]
    log = Log()
    try:
        if with_swarms:
            swarms(log, ways, sizes, rounds, plain_rounds)
        if with_growth:
            growth(log, [way for way in ways if way in (OURS, FLOOR)], _LIGHT, rounds)
    except KeyboardInterrupt:  # what was measured until then is told, and not kept
        log.failed.append("the rest: interrupted")
        write = False
    _tell(log, about, as_json, write)


def _versions() -> dict[str, str]:
    ssh = run("ssh", "-V", both=True).split(",")[0].removeprefix("OpenSSH_").strip()
    return {"pyinfra": metadata.version("pyinfra"), **peers.versions(), "OpenSSH": ssh}


def _tell(log: Log, about: str, as_json: bool, write: bool) -> None:
    text = f"{about}\n\n{report.tables(Results(tuple(log.taken)))}"
    click.echo(json.dumps([asdict(one) for one in log.taken]) if as_json else text)
    if write:
        _README.write_text(report.place(_README.read_text(encoding="utf-8"), text), encoding="utf-8")
    if log.failed:
        raise UserError(f"{len(log.failed)} runs failed, the first one: {log.failed[0]}")


if __name__ == "__main__":
    main(prog_name="python -m bench.provision")
