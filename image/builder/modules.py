"""Modules of Go: which versions there are and what each needs. Go asks the module proxy; go.sum is the judge."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from image import plan
from image.builder import causes, recipe
from image.errors import UserError
from image.plan import ROOT, Go, Image, required
from image.run import LOGS, run

TOOLS = ROOT / "tools"


@dataclass(frozen=True)
class Pin:
    """A Go program whose version a folder's go.mod says."""

    name: str
    folder: Path
    go: Go
    module_version: str
    """With its v; upstream's own may be another."""

    @property
    def version(self) -> str:
        """Upstream's, without a v."""
        return self.go.upstream(self.module_version) or self.module_version


@dataclass(frozen=True)
class GoMod:
    """What a go.mod says; source: `go help mod edit`, type GoMod."""

    go: str
    required: dict[str, str]
    direct: frozenset[str]
    replaced: dict[str, str]
    """Old -> new, as `go mod edit -replace` reads them; a new one without a version is a folder."""
    excluded: frozenset[str]
    """As PATH@VERSION."""
    tools: tuple[str, ...]
    """Packages."""

    @classmethod
    def read(cls, file: Path) -> GoMod:
        """Read a go.mod; raises UserError."""
        found: dict[str, Any] = json.loads(run("go", "mod", "edit", "-json", file, env=recipe.GO_ENVIRONMENT))
        wanted = found.get("Require") or []
        return cls(
            found.get("Go", ""),
            {each["Path"]: each["Version"] for each in wanted},
            frozenset(each["Path"] for each in wanted if not each.get("Indirect")),
            {_at(each["Old"]): _at(each["New"]) for each in found.get("Replace") or []},
            frozenset(_at(each) for each in found.get("Exclude") or []),
            tuple(each["Path"] for each in found.get("Tool") or []),
        )


def pin(image: Image, go: Go) -> Pin:
    """An image's pin; raises UserError."""
    return Pin(image.name, image.folder, go, required(image.folder, go.module))


def tools(folder: Path = TOOLS) -> tuple[Pin, ...]:
    """The programs that go.mod of `folder`, if it has one, calls tools; raises UserError."""
    file = folder / "go.mod"
    found = GoMod.read(file) if file.exists() else None
    return tuple(_tool(package, found, folder) for package in found.tools) if found else ()


def _tool(package: str, found: GoMod, folder: Path) -> Pin:
    """The pin of a tool's module: of those that are required the one with the longest matching path, as for Go."""
    module = max((each for each in found.required if f"{package}/".startswith(f"{each}/")), key=len, default="")
    if not module:
        raise UserError(f"{folder / 'go.mod'} requires no module of its tool {package}", f"go get -tool {package}")
    return Pin(package.rpartition("/")[2], folder, Go(module, package), found.required[module])


def named(names: Collection[str] = (), root: Path = ROOT) -> tuple[tuple[Image, ...], tuple[Pin, ...]]:
    """The images and the tools of a clone, or those named; raises UserError with the nearest name."""
    images, pins = plan.read(root=root), tools(root / TOOLS.name)
    known = [*(image.name for image in images), *(pin.name for pin in pins)]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UserError(f"there is no image or tool {name!r}", " of ".join([*near, ", ".join(known)]))
    return (
        tuple(image for image in images if not names or image.name in names),
        tuple(pin for pin in pins if not names or pin.name in names),
    )


def releases(pin: Pin) -> dict[str, str]:
    """Upstream's versions, oldest first, and the module's for each; neither pre-releases nor retracted ones.

    Raises:
        UserError: the module proxy does not answer or knows no such module.
    """
    found = json.loads(go("list", "-m", "-versions", "-json", pin.go.module, folder=pin.folder))
    both = ((pin.go.upstream(version), version) for version in found.get("Versions") or [])
    return dict(sorted(((ours, theirs) for ours, theirs in both if ours), key=lambda pair: numbers(pair[0])))


def numbers(version: str) -> tuple[int, ...]:
    """A version in an order: 1.9.0 is before 1.12.1."""
    return tuple(map(int, re.findall(r"\d+", version)))


def download(module: str, version: str, folder: Path, pinned: Path) -> tuple[Path, Path]:
    """A module's go.mod and the folder of its source, as Go verified and keeps them; raises UserError."""
    found = json.loads(go("mod", "download", "-json", f"{module}@{version}", folder=folder, pinned=pinned))
    if "Dir" not in found:
        raise UserError(f"go mod download {module}@{version}: {found.get('Error', found)}")
    return Path(found["GoMod"]), Path(found["Dir"])


def go(*words: str, folder: Path, pinned: Path | None = None) -> str:
    """What the go command says in a folder.

    Args:
        pinned: the folder that a person knows, where `folder` is a copy of it.

    Raises:
        UserError: it failed; with the cause, where one is known.
    """
    with causes.told(pinned or folder):
        return run("go", *words, cwd=folder, env=recipe.GO_ENVIRONMENT, log=LOGS / f"go-{folder.name}-{words[0]}.log")


def _at(module: dict[str, str]) -> str:
    return f"{module['Path']}@{module['Version']}" if module.get("Version") else module["Path"]
