"""Plan -> programs -> images -> registry; what is there already is left out."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from image import cache, durations
from image.builder import pack, published, web_ui, wire
from image.builder.bake import Contents, bake, bake_and_push
from image.builder.pack import Program
from image.builder.published import Published
from image.cluster import Cluster
from image.durations import TimeLeft
from image.errors import UserError, raise_all
from image.plan import Go, Image, Plan, WebUi
from image.platform import Platform
from image.progress import Progress, shown, step
from image.registry import container, lock
from image.registry.client import NoAnswerError, Registry

if TYPE_CHECKING:
    from image.builder.sbom import Found

REGISTRY = "registry"
"""The name of the image that the cluster's registry runs."""
PUSH = "push the images"
_TO_START = 3  # pieces of work: its program, its image, its start
# What a linker of a large program takes; source: GNU time on Prometheus' link.
_LINKER_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Status:
    """What is to be done. Where the registry is to be started, ask again when it runs: it may have all."""

    there: Mapping[str, Published]
    missing: tuple[Image, ...]
    start_registry: Image | None = None

    @property
    def nothing_to_do(self) -> bool:
        return not self.missing and not self.start_registry


@dataclass(frozen=True)
class Outcome:
    """What the registry has of a plan, and whether there was anything to do for it."""

    there: Mapping[str, Published]
    nothing_to_do: bool = False


def build_all(cluster: Cluster, plan: Plan, jobs: int) -> Outcome:
    """Build and push what is missing, and show how that goes on; start the registry where it does not run.

    Raises:
        UserError: as `status`, `start_registry` and `build`.
    """
    todo = status(cluster, plan)
    if todo.nothing_to_do:
        return Outcome(todo.there, nothing_to_do=True)
    cache.sweep()
    if todo.start_registry:
        with shown(_TO_START) as told, lock.alone(cluster, told):
            # Another command may have started it while this waited: once more would stop it under whoever uses it.
            if not container.runs(cluster, todo.start_registry):
                start_registry(cluster, plan, todo.start_registry, jobs, told)
        todo = status(cluster, plan)
    if not todo.missing:
        return Outcome(todo.there)
    work = (*pieces(todo.missing, plan, todo.there), PUSH)
    with shown(len(work), TimeLeft(work, jobs)) as told:
        there = build(cluster, plan, todo, jobs, told)
    wire.measure(Registry.of(cluster), there.values())
    return Outcome(there)


def describe(cluster: Cluster, image: Image, jobs: int) -> Found:
    """An image's SBOM: the one in the registry, or else one of its programs as they are made here.

    Raises:
        UserError: as `sbom.published` and `make`.
    """
    from image.builder import sbom  # its library takes half a second

    found = sbom.published(Registry.of(cluster), image)
    if found is not None:
        return found
    plan = Plan((image,), default_platforms(cluster))
    work = pieces(plan.images, plan, {})
    with shown(len(work), TimeLeft(work, jobs)) as told:
        return sbom.compiled(make(plan.images, plan, {}, jobs, told)[0])


def status(cluster: Cluster, plan: Plan) -> Status:
    """Ask the registry and its node's engine what there is; raises UserError."""
    registry = Registry.of(cluster)
    own = next((image for image in plan.images if image.name == REGISTRY), None)
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = pool.submit(container.runs, cluster, own) if own else None
        try:
            there = lock.patient(cluster, lambda: published.ask(registry, plan.images))
        except NoAnswerError as error:
            if own is None:
                said = error.message.partition("\n")[0]
                raise UserError(said, f"{cluster.command} build-all, without a name: that starts it") from error
            if running and running.result():
                raise UserError(error.message.partition("\n")[0], f"docker logs {container.NAME}") from error
            there = {}
        start = own if running and not running.result() else None
    missing = tuple(image for image in plan.images if not is_there(there.get(image.name), image, plan))
    return Status(there, missing, start)


def is_there(found: Published | None, image: Image, plan: Plan) -> bool:
    """Whether an image is in the registry as it is wanted; one with more platforms is."""
    wanted = plan.pack and image.about.pack
    return found is not None and found.pack == wanted and found.platforms >= set(plan.platforms)


def start_registry(cluster: Cluster, plan: Plan, image: Image, jobs: int, progress: Progress) -> None:
    """Start the registry from its own image, made for its node's platform alone; raises UserError.

    What else is to be done can be asked only when it runs. Who calls this holds `lock.alone`.
    """
    from image.registry import bootstrap  # with it comes Docker's library; not paid for where there is nothing to do

    make_registry(cluster, plan, image, jobs, progress)
    with step(progress, "start the registry"):
        bootstrap.start(cluster, image)


def make_registry(cluster: Cluster, plan: Plan, image: Image, jobs: int, progress: Progress) -> None:
    """Make the registry's image in its node's engine, for that platform alone; raises UserError.

    Who calls this holds `lock.alone`.
    """
    own = replace(plan, platforms=(cluster.registry_node.platform,))
    contents = make((image,), own, {}, jobs, progress)
    with step(progress, "make the registry's image"):
        bake(contents, cluster)


def build(cluster: Cluster, plan: Plan, todo: Status, jobs: int, progress: Progress) -> dict[str, Published]:
    """Build and push what is missing; returns all that the registry has of the plan then.

    Raises:
        UserError: a program does not compile or start (the others are finished first), BuildKit or the
            registry fails.
    """
    # Their libraries take half a second; who has nothing to do need not wait for them.
    from image.builder.push import publish
    from image.registry import bootstrap

    contents = make(todo.missing, plan, todo.there, jobs, progress)
    with lock.alone(cluster, progress), _timed(progress, PUSH):
        digests = bake_and_push(contents, cluster)
        there = {**todo.there, **publish(Registry.of(cluster), contents, digests)}
        bootstrap.sweep(cluster, plan.images)
    return there


def default_platforms(cluster: Cluster) -> tuple[Platform, ...]:
    """What the swarm's nodes run, and what the next Pi will."""
    return tuple(sorted({*cluster.platforms, Platform("linux", "arm64")}))


def default_jobs() -> int:
    """As many compilers as there are cores for this process, and as their linkers find memory for now."""
    return jobs(len(os.sched_getaffinity(0)), Path("/proc/meminfo").read_text(encoding="ascii"))


def jobs(cores: int, memory: str) -> int:
    """How many compilers; at least one.

    Args:
        memory: what /proc/meminfo says; its MemAvailable counts what the kernel could free. Source: proc(5).
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", memory, re.MULTILINE)
    return max(1, min(cores, int(found[1]) * 1024 // _LINKER_BYTES)) if found else 1


def make(
    images: Iterable[Image], plan: Plan, there: Mapping[str, Published], jobs: int, progress: Progress
) -> tuple[Contents, ...]:
    """Compile, pack and start all programs, several at once; raises UserError when all have ended."""
    images = tuple(images)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            # The long ones first: what is started last should not be what all wait for.
            uis = {
                image.name: pool.submit(_web_ui, image, go, ui, progress)
                for image in images
                if (go := image.about.go) and (ui := image.about.web_ui)
            }
            programs = {
                (image.name, platform): pool.submit(_program, image, platform, plan.pack, progress)
                for image in sorted(images, key=lambda image: image.about.web_ui is None)
                for platform in platforms(image, plan, there)
            }
            # All of them are waited for, also where the first has failed.
            failed = [*(one.exception() for one in uis.values()), *(one.exception() for one in programs.values())]
            raise_all(failed)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(
        Contents(
            image,
            {platform: done.result() for (name, platform), done in programs.items() if name == image.name},
            plan.pack and image.about.pack,
            uis[image.name].result() if image.name in uis else None,
        )
        for image in images
    )


def platforms(image: Image, plan: Plan, there: Mapping[str, Published]) -> tuple[Platform, ...]:
    """Those that are wanted, and those that the registry has already: building for one Pi more takes none away."""
    had: Collection[Platform] = there[image.name].platforms if image.name in there else ()
    return tuple(sorted({*plan.platforms, *had}))


def pieces(images: Collection[Image], plan: Plan, there: Mapping[str, Published]) -> tuple[str, ...]:
    """What `make` will tell of."""
    uis = (_ui_work(image) for image in images if image.about.web_ui)
    programs = (_program_work(image, platform) for image in images for platform in platforms(image, plan, there))
    return (*uis, *programs)


def _program_work(image: Image, platform: Platform) -> str:
    return f"{image.name} {platform}"


def _ui_work(image: Image) -> str:
    return f"{image.name} web interface"


@contextmanager
def _timed(progress: Progress, what: str) -> Iterator[list[str]]:
    """A step whose duration is remembered where it succeeds."""
    start = time.monotonic()
    with step(progress, what) as notes:
        yield notes
    durations.remember(what, time.monotonic() - start)


def _program(image: Image, platform: Platform, packing: bool, progress: Progress) -> Program:
    with _timed(progress, _program_work(image, platform)) as notes:
        program = pack.ready(image, platform, packing)
        if program.sizes.notice:
            notes.append(program.sizes.notice)
    return program


def _web_ui(image: Image, go: Go, ui: WebUi, progress: Progress) -> Path:
    with _timed(progress, _ui_work(image)):
        return web_ui.built(image, go, ui)
