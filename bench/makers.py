"""The ways to one image for three platforms that are compared. A way is commands; nothing is run here."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from bench import base
from bench.ways import Command
from image.builder import recipe
from image.cluster import Cluster
from image.errors import UserError
from image.plan import Go, Image
from image.platform import Platform
from lab.spec import CLONE

Scenario = Literal["cold", "nothing", "packed", "all", "deploy"]
Steps = tuple[tuple[Command, ...], ...]
"""One after the other; the commands of a step all at once."""

PLATFORMS: Final = tuple(map(Platform.parse, ("linux/arm/v7", "linux/arm64", "linux/amd64")))


@dataclass(frozen=True)
class Place:
    """What every way works with."""

    image: Image
    cluster: Cluster
    work: Path
    """Of this way alone; empty where it begins cold."""
    ko: Path
    platforms: tuple[Platform, ...] = PLATFORMS

    @property
    def go(self) -> Go:
        if self.image.about.go is None:
            raise UserError(f"{self.image.name} is not compiled here, so its building cannot be compared")
        return self.image.about.go

    @property
    def caches(self) -> dict[str, str]:
        """Go's cache, and this project's; the one of modules is everyone's, and warm."""
        return {"GOCACHE": str(self.work / "go-build"), "XDG_CACHE_HOME": str(self.work / "cache")}

    @property
    def programs(self) -> Path:
        """Where `go build` puts what BuildKit takes: PLATFORM/bin/PROGRAM."""
        return self.work / "programs"

    @property
    def login(self) -> dict[str, str]:
        return {"DOCKER_CONFIG": str(self.cluster.credentials)}


class Maker(Protocol):
    """One way to make and push the image."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def pushes(self) -> str:
        """The repository that it pushes to; empty where it makes files only."""

    def files(self, place: Place) -> dict[Path, str]:
        """What it wants to find."""

    def steps(self, place: Place) -> Steps:
        """What makes the image."""


def compilers(place: Place) -> tuple[Command, ...]:
    """`go build` for each platform, with the flags that this project uses."""
    go, _, *words = recipe.go_build(place.go, place.image.version)
    return tuple(
        Command(
            (go, "build", *words, "-o", str(_program(place, platform)), place.go.package),
            {**recipe.go_environment(platform), **place.caches},
            place.image.folder,
        )
        for platform in place.platforms
    )


def _program(place: Place, platform: Platform) -> Path:
    return place.programs / str(platform) / "bin" / place.image.about.program


@dataclass(frozen=True)
class GoBuild:
    """Files, and no images."""

    name: str = "go build"
    at_once: bool = False
    pushes: str = ""

    def files(self, place: Place) -> dict[Path, str]:
        del place
        return {}

    def steps(self, place: Place) -> Steps:
        each = compilers(place)
        return (each,) if self.at_once else tuple((one,) for one in each)


@dataclass(frozen=True)
class Bake:
    """What one would write without this project: compile, then a bake file."""

    name: str = "go build, buildx bake"
    pushes: str = "baked"

    def files(self, place: Place) -> dict[Path, str]:
        target = {
            "context": str(place.image.folder),
            "contexts": {"programs": str(place.programs)},
            "platforms": [str(platform) for platform in place.platforms],
            "args": recipe.BUILD_ARGUMENTS,
            "tags": [f"{place.cluster.registry}/{self.pushes}:latest"],
            "output": [f"{recipe.OUTPUT},push=true"],
        }
        return {place.work / "bake.json": json.dumps({"target": {"default": target}})}

    def steps(self, place: Place) -> Steps:
        environment = {
            **place.cluster.engine(place.cluster.registry_node).environment,
            **recipe.BUILD_ENVIRONMENT,
            **place.login,
            "BUILDX_CONFIG": str(place.work / "buildx"),
            "BUILDX_BUILDER": "",
        }
        words = ("buildx", "bake", "--progress=plain", f"--allow=fs.read={CLONE}", "--file", "bake.json")
        return (*((one,) for one in compilers(place)), (Command(words, environment, place.work),))


@dataclass(frozen=True)
class Ko:
    """ko, with its own cache, the flags of the others, and no SBOM."""

    name: str = "ko"
    pushes: str = "ko"

    def files(self, place: Place) -> dict[Path, str]:
        *flags, _, variables = recipe.go_build(place.go, place.image.version)[2:]
        about = {
            "id": place.image.name,
            "main": place.go.package,
            "flags": flags,
            "ldflags": [variables],
            "env": [f"{name}={value}" for name, value in recipe.GO_ENVIRONMENT.items()],
        }
        return {place.work / ".ko.yaml": json.dumps({"builds": [about]})}

    def steps(self, place: Place) -> Steps:
        certificates = place.cluster.endpoint.tls
        environment = {
            **recipe.GO_ENVIRONMENT,
            **place.caches,
            **place.login,
            **({"SSL_CERT_FILE": str(certificates / "ca.pem")} if certificates else {}),
            "KOCACHE": str(place.work / "ko"),
            "KO_CONFIG_PATH": str(place.work / ".ko.yaml"),
            "KO_DEFAULTBASEIMAGE": f"{place.cluster.registry}/{base.NAME}:latest",
            "KO_DOCKER_REPO": f"{place.cluster.registry}/{self.pushes}",
        }
        platforms = ",".join(map(str, place.platforms))
        words = (str(place.ko), "build", "--bare", "--sbom=none", f"--platform={platforms}", place.go.package)
        return ((Command(words, environment, place.image.folder),),)


@dataclass(frozen=True)
class Project:
    """What this repository does."""

    name: str = "this project"
    pack: bool = False

    @property
    def pushes(self) -> str:
        return ""  # it says itself what the registry has

    def files(self, place: Place) -> dict[Path, str]:
        del place
        return {}

    def steps(self, place: Place) -> Steps:
        platforms = (word for platform in place.platforms for word in ("--platform", str(platform)))
        packing = () if self.pack else ("--no-upx",)
        words = ("build-all", place.image.name, *packing, *platforms)
        return ((Command(ours(place.cluster, *words), {**place.caches, **AS_USUAL}),),)


AS_USUAL: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""Python keeps what it has compiled, whatever it does in the shell that measures."""


def ours(cluster: Cluster, *words: str) -> tuple[str, ...]:
    """`python -m image …` as a person types it."""
    return (sys.executable, "-m", "image", "--context", cluster.name, *words)


FLOOR: Final = GoBuild()
SIDE_BY_SIDE: Final = GoBuild("go build, side by side", at_once=True)
KO: Final = Ko()
BAKE: Final = Bake()
OURS: Final = Project()
MAKERS: Final[dict[str, Maker]] = {
    "floor": FLOOR,
    "side-by-side": SIDE_BY_SIDE,
    "ko": KO,
    "bake": BAKE,
    "ours": OURS,
}
