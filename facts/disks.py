"""How full a host's disks are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part

_PATHS = "/ /var/lib/docker"


@dataclass(frozen=True)
class Disk:
    """One file system; source: POSIX df."""

    mounted_on: str
    size: int
    """In KiB."""
    free: int
    """In KiB, for programs that are not root's."""
    inodes: int
    """0 where the file system has no fixed number of them."""
    free_inodes: int

    @property
    def full(self) -> float:
        """The share that is used."""
        return 1 - self.free / self.size if self.size else 0.0

    @property
    def inodes_full(self) -> float:
        """The share of the inodes that is used."""
        return 1 - self.free_inodes / self.inodes if self.inodes else 0.0


@dataclass(frozen=True)
class DisksState:
    """The root file system, and the engine's where it has one of its own."""

    disks: tuple[Disk, ...]


class Disks(Part[DisksState]):
    """Reads `DisksState`."""

    questions: ClassVar[Mapping[str, str]] = {"space": f"df -Pk {_PATHS}", "inodes": f"df -Pi {_PATHS}"}

    def parse(self, found: Mapping[str, str]) -> DisksState:
        space, inodes = _columns(found["space"]), _columns(found["inodes"])
        disks = (Disk(path, *sizes, *inodes.get(path, (0, 0))) for path, sizes in space.items())
        return DisksState(tuple(disks))


def _columns(text: str) -> Mapping[str, tuple[int, int]]:
    """Size and what is free, by mount point."""
    rows = (line.split(maxsplit=5) for line in text.splitlines()[1:] if line.strip())
    return {row[5]: (int(row[1]), int(row[3])) for row in rows if row[1] != "-"}
