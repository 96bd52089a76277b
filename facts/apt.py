"""What apt has to offer on a host. It costs a Pi a second, so only who wants to install something asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from pyinfra.api import FactBase

from facts.engine import PACKAGES
from facts.part import Part

# Touched after each update; apt's own daily job does the same where it keeps such a file.
UPDATED = "/var/lib/apt/periodic/update-success-stamp"
_HELPER = "/usr/lib/apt/apt-helper"
_NAMES = (*(name for names in PACKAGES.values() for name in names), "curl", "nftables")


@dataclass(frozen=True)
class Offer:
    """Which versions of a package apt can install."""

    candidate: str
    """The one that it would choose; empty if none."""
    versions: tuple[str, ...]
    """All, newest first."""


@dataclass(frozen=True)
class AptState:
    """What apt knows, and since when."""

    offers: Mapping[str, Offer]
    """By package, of the engine's and those that bring the programs which we start."""
    age: float
    """Seconds since its lists were read; infinite if they never were."""


class Apt(Part[AptState]):
    """Reads `AptState`. Source: apt-cache(8), policy."""

    questions: ClassVar[Mapping[str, str]] = {
        "policy": f"LC_ALL=C apt-cache policy {' '.join(_NAMES)}",
        "now": "date +%s",
        # An image that was made with lists has no other trace of when than this folder.
        "updated": f"ls /var/lib/apt/lists/*_*Packages* >/dev/null && stat -c %Y {UPDATED} /var/lib/apt/lists/partial",
    }

    def parse(self, found: Mapping[str, str]) -> AptState:
        updated = [float(line) for line in found["updated"].split()]
        return AptState(
            offers=dict.fromkeys(_NAMES, Offer("", ())) | dict(_offers(found["policy"].splitlines())),
            # A clock that was put right in between may make it negative: then it is not old.
            age=float(found["now"]) - max(updated) if updated else float("inf"),
        )


def _offers(lines: Iterable[str]) -> Iterable[tuple[str, Offer]]:
    name, candidate, versions = "", "", list[str]()
    for line in [*lines, "end:"]:
        if line[:1] not in (" ", ""):
            if name:
                yield name, Offer("" if candidate == "(none)" else candidate, tuple(versions))
            name, candidate, versions = line.strip().rstrip(":"), "", []
        elif line.startswith("  Candidate: "):
            candidate = line.split(": ", 1)[1].strip()
        elif line[:5] in ("     ", " *** ") and line[5:6].strip():
            # A version and its priority; where it comes from stands below it, further to the right.
            versions.append(line[5:].split()[0])


@dataclass(frozen=True)
class Download:
    """A small text from the network, or why there is none."""

    text: str
    error: str


class Downloaded(FactBase[Download]):
    """A file that apt's own downloader gets, so that apt's settings (a proxy, say) hold; nothing stays on the host."""

    def command(self, url: str) -> str:
        return (
            # As a user with no rights, which needs a folder of its own.
            'folder=$(mktemp -d) && chown _apt "$folder" && '
            f"if said=$({_HELPER} --quiet --quiet download-file '{url}' \"$folder/file\" 2>&1);"
            ' then cat "$folder/file"; else echo "error: $said"; fi; rm -rf "$folder"'
        )

    @staticmethod
    def default() -> Download:
        return Download("", "the host said nothing")

    def process(self, output: Iterable[str]) -> Download:
        text = "\n".join(output)
        if text.startswith("error: "):
            return Download("", text.removeprefix("error: "))
        return Download(text + "\n", "")
