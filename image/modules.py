"""Modules of Go: which versions there are and what each needs. Go asks the module proxy; go.sum is the judge."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image import causes, recipe
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
    replaced: frozenset[tuple[str, str]]
    """Old and new, as `go mod edit -replace` reads them; without those by a folder."""
    excluded: frozenset[str]
    """As PATH@VERSION."""

    @classmethod
    def read(cls, file: Path) -> GoMod:
        """Read a go.mod; raises UserError."""
        found: dict[str, Any] = json.loads(run("go", "mod", "edit", "-json", file, env=recipe.GO_ENVIRONMENT))
        wanted = found.get("Require") or []
        return cls(
            found.get("Go", ""),
            {each["Path"]: each["Version"] for each in wanted},
            frozenset(each["Path"] for each in wanted if not each.get("Indirect")),
            frozenset(
                (_at(each["Old"]), _at(each["New"])) for each in found.get("Replace") or [] if "Version" in each["New"]
            ),
            frozenset(_at(each) for each in found.get("Exclude") or []),
        )


def pin(image: Image, go: Go) -> Pin:
    """An image's pin; raises UserError."""
    return Pin(image.name, image.folder, go, required(image.folder, go.module))


def tools(folder: Path = TOOLS) -> tuple[Pin, ...]:
    """The programs that go.mod of `folder`, if it has one, calls tools; raises UserError."""
    file = folder / "go.mod"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    pins = []
    for package in re.findall(r"^tool (\S+)", text, re.MULTILINE):
        known = re.findall(r"^\s*(?:require )?(\S+) v\d", text, re.MULTILINE)
        module = max((each for each in known if f"{package}/".startswith(f"{each}/")), key=len, default=package)
        pins.append(Pin(package.rpartition("/")[2], folder, Go(module, package), required(folder, module)))
    return tuple(pins)


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


def download(module: str, version: str, folder: Path) -> tuple[Path, Path]:
    """A module's go.mod and the folder of its source, as Go verified and keeps them; raises UserError."""
    found = json.loads(go("mod", "download", "-json", f"{module}@{version}", folder=folder))
    if "Dir" not in found:
        raise UserError(f"go mod download {module}@{version}: {found.get('Error', found)}")
    return Path(found["GoMod"]), Path(found["Dir"])


def go(*words: str, folder: Path) -> str:
    """What the go command says in a folder; raises UserError with the cause, where one is known."""
    with causes.told(folder):
        return run("go", *words, cwd=folder, env=recipe.GO_ENVIRONMENT, log=LOGS / f"go-{folder.name}-{words[0]}.log")


def _at(module: dict[str, str]) -> str:
    return f"{module['Path']}@{module['Version']}" if module.get("Version") else module["Path"]
