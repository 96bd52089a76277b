"""Where images are made for a measurement: a virtual Pi with a registry, that can be emptied again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from bench import base
from bench.makers import PLATFORMS, Maker, Place, ours
from bench.site import Site, fresh
from bench.ways import BENCH
from image import cache, cluster
from image.cluster import Cluster
from image.errors import UserError
from image.plan import Image, go_version
from image.platform import Platform
from image.registry.client import NoAnswerError, Registry
from image.run import LOGS, run
from lab import engine
from lab.spec import CLONE

_KO: Final = "github.com/google/ko"
_PATIENCE = 60.0  # seconds until the registry answers again
# No layer is there, neither in the registry nor in the engine that builds.
_EMPTY = """
set -eu
docker stop pishelf-registry >/dev/null
rm -rf "$(docker volume inspect --format '{{.Mountpoint}}' pishelf-registry)/docker"
docker images --format '{{.Repository}}:{{.Tag}}' | { grep -v /registry: || true; } |
	xargs --no-run-if-empty docker rmi --force >/dev/null
docker builder prune --all --force >/dev/null
docker start pishelf-registry >/dev/null
"""


@dataclass(frozen=True)
class Kitchen:
    """A swarm of one node, and what else all ways need."""

    site: Site
    cluster: Cluster
    image: Image
    ko: Path
    platforms: tuple[Platform, ...] = PLATFORMS

    def place(self, way: str) -> Place:
        """Where one way works."""
        return Place(self.image, self.cluster, self.site.work / way, self.ko, self.platforms)

    def empty(self) -> None:
        """Leave no image in the registry but ko's base, and none in the engine that builds but the registry's."""
        client = engine.connect()
        done = client.containers.get(self.site.nodes[0].container).exec_run(["sh", "-c", _EMPTY])
        if done.exit_code != 0:
            raise UserError(f"emptying {self.site.nodes[0].container}: {done.output!r}")
        registry = Registry.of(self.cluster)
        _wait(registry)
        base.push(registry, self.platforms)

    def check(self, maker: Maker) -> None:
        """Raise UserError where a way did not push what it should have: it would look fast."""
        index = Registry.of(self.cluster).index(maker.pushes, "latest")
        has = set(index.manifests) if index else set()
        if has != set(self.platforms):
            raise UserError(f"{maker.name} pushed {', '.join(map(str, sorted(has))) or 'nothing'}")


@contextmanager
def opened(image: Image, platforms: tuple[Platform, ...]) -> Iterator[Kitchen]:
    """A fresh virtual Pi, provisioned, with a registry that runs; nothing is left of it afterwards."""
    program = ko()
    with fresh(1, "") as site:
        lab = {"LAB": site.lab.name}
        log = LOGS / "bench-kitchen.log"
        run("pyinfra", "-y", "lab/inventory.py", "deploys/swarm.py", cwd=CLONE, env=lab, log=log)
        swarm = cluster.read(site.lab.name)
        run(*ours(swarm, "build-all", "registry"), cwd=CLONE, log=log)
        if image.about.go:
            run("go", "mod", "download", cwd=image.folder)  # what has to come from afar is not measured
        yield Kitchen(site, swarm, image, program, platforms)


def ko() -> Path:
    """The peer, built from its pinned module once for this user."""
    pins = [BENCH / "ko" / name for name in ("go.mod", "go.sum")]
    parts = {"go": go_version(), "pins": [hashlib.sha256(file.read_bytes()).hexdigest() for file in pins]}
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}

    def make(folder: Path) -> None:
        words = ("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", folder / "ko", _KO)
        run(*words, cwd=BENCH / "ko", env=environment, log=LOGS / "bench-ko.log")

    return cache.ensure("ko", parts, make) / "ko"


def ko_version() -> str:
    """As it is pinned."""
    found = re.search(rf"^\s*{re.escape(_KO)} (v\S+)", (BENCH / "ko" / "go.mod").read_text(encoding="utf-8"), re.M)
    return found[1] if found else "?"


def _wait(registry: Registry) -> None:
    end = monotonic() + _PATIENCE
    while True:
        try:
            return registry.check()
        except NoAnswerError:
            if monotonic() > end:
                raise
        sleep(0.2)
