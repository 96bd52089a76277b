"""`python -m bench.build`: one image for three platforms by several ways, in the same minutes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Final

import click
from docker.errors import DockerException

from bench import cpu, kitchen, machine, made, report
from bench.cpu import Meter
from bench.kitchen import Kitchen
from bench.made import Made, Results
from bench.makers import AS_USUAL, KO, MAKERS, OURS, PLATFORMS, Maker, Project, Scenario, Steps, ours
from bench.site import rest
from bench.ways import BENCH, Command
from image import plan
from image.errors import UserError
from image.platform import Platform
from image.run import LOGS, end_as_by_ctrl_c, run
from lab.progress import say

_README: Final = BENCH / "README.md"
_LONGEST = 3600.0  # seconds
_LOG: Final = LOGS / "bench-build.log"


@dataclass
class Log:
    """What was measured so far, and what failed."""

    kitchen: Kitchen
    taken: list[Made] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def take(self, scenario: Scenario, way: str, steps: Steps) -> None:
        """Measure once, when the node is at rest; raises UserError where a command fails."""
        meter = Meter.of(self.kitchen.site.containers)
        rest(meter)
        (before,), here, began = meter.read(), cpu.of_children(), monotonic()
        for step in steps:
            with ThreadPoolExecutor(len(step)) as pool:
                list(pool.map(_run, step))
        wall, (after,) = monotonic() - began, meter.read()
        one = Made(scenario, way, wall, cpu.of_children() - here, after - before)
        say(f"{scenario}, {way}: {one.wall:.2f} s, {one.here:.2f} s of processor time here")
        self.taken.append(one)


def _run(command: Command) -> None:
    run(*command.argv, cwd=command.cwd, env=command.env, timeout=_LONGEST, log=_LOG)


def one_image(log: Log, makers: Sequence[Maker], rounds: int, repeats: int) -> None:
    """Measure each way, in turns: cold, then with nothing to do; this project's packing apart."""
    for turn in range(rounds):
        for maker in report.in_turn(makers, turn):
            place = log.kitchen.place(maker.name.replace(" ", "-"))
            try:
                log.kitchen.empty()
                place.work.mkdir()
                for path, content in maker.files(place).items():
                    path.write_text(content, encoding="utf-8")
                log.take("cold", maker.name, maker.steps(place))
                for _ in range(repeats):
                    log.take("nothing", maker.name, maker.steps(place))
                if maker.pushes:
                    log.kitchen.check(maker)
                if maker == OURS:
                    log.take("packed", made.PACKING, Project(pack=True).steps(place))
            except (UserError, DockerException) as error:  # the others are worth having all the same
                log.failed.append(f"{maker.name}: {error}")
                say(log.failed[-1])
            finally:
                shutil.rmtree(place.work, ignore_errors=True)


def all_images(log: Log, repeats: int) -> None:
    """Measure `build-all` and `deploy` where all is there and runs."""
    words = {"all": "build-all", "deploy": "deploy"}
    for scenario, way in made.ALONE.items():
        command = Command(ours(log.kitchen.cluster, words[scenario]), AS_USUAL)
        _run(command)
        for _ in range(repeats):
            log.take(scenario, way, ((command,),))


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True, help="Cold starts of each way.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Idle runs after each.")
@click.option("--way", "keys", type=click.Choice(list(MAKERS)), multiple=True, help="Only this; may be repeated.")
@click.option("--image", "name", default="node_exporter", show_default=True, help="Which image to build.")
@click.option("--platform", "platforms", multiple=True, help=f"Two or more. Default: {', '.join(map(str, PLATFORMS))}.")
@click.option("--all/--no-all", "with_all", default=True, help="Whether to measure all images and the deploy, too.")
@click.option("--json", "as_json", is_flag=True, help="All measurements, for programs.")
@click.option("--write", is_flag=True, help="Put the tables into bench/README.md.")
def main(
    rounds: int,
    repeats: int,
    keys: tuple[str, ...],
    name: str,
    platforms: tuple[str, ...],
    with_all: bool,
    as_json: bool,
    write: bool,
) -> None:
    """Measure how long it takes to make a multi-platform image: `go build`, its peers, and this project."""
    if len(platforms) == 1:
        raise click.UsageError("--platform once only: an index of one platform is none, says ko")
    end_as_by_ctrl_c()  # the lab is removed then, too
    about = _about(shlex.join(["python", "-m", "bench.build", *sys.argv[1:]]))
    (image,) = plan.read((name,))
    makers = [maker for key, maker in MAKERS.items() if not keys or key in keys]
    with kitchen.opened(image, tuple(map(Platform.parse, platforms)) or PLATFORMS) as where:
        log = Log(where)
        try:
            one_image(log, makers, rounds, repeats)
            if with_all:
                all_images(log, repeats)
        except KeyboardInterrupt:  # what was measured until then is told, and not kept
            log.failed.append("the rest: interrupted")
            write = False
    text = f"{about}\n\n{made.tables(Results(log.taken))}"
    click.echo(json.dumps([asdict(one) for one in log.taken]) if as_json else text)
    if write:
        _README.write_text(report.place(_README.read_text(encoding="utf-8"), text, "build"), encoding="utf-8")
    if log.failed:
        raise UserError(f"{len(log.failed)} runs failed, the first one: {log.failed[0]}")


def _about(command: str) -> str:
    versions = {"Go": plan.go_version(), KO.name: kitchen.ko_version(), "buildx": run("buildx", "version").split()[1]}
    busy = os.getloadavg()[0]
    return f"{machine.describe(command, versions)} Load average as it began: {busy:.1f}."


if __name__ == "__main__":
    main(prog_name="python -m bench.build")
