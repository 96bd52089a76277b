"""What the cluster made on a host and a reset takes away. One round trip, for that deploy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from facts.engine import DROP_IN, KEYRING, PACKAGES, REPOSITORY, STARTED
from facts.host import MODULES_FILE
from facts.network import NM_CONF
from facts.part import Part

# Files and folders that are wholly ours; those that we only add to are not among them.
MADE: Final = (
    "/etc/docker",
    DROP_IN.rpartition("/")[0],
    REPOSITORY,
    KEYRING,
    STARTED,
    MODULES_FILE,
    NM_CONF,
)
# These may be places where a disk of its own is mounted, so they stay and what is in them goes.
DATA: Final = ("/var/lib/docker", "/var/lib/containerd")


@dataclass(frozen=True)
class RemainsState:
    """Names of what is there."""

    paths: tuple[str, ...]
    packages: tuple[str, ...]
    """The engine's, installed or with configuration files left."""
    data: tuple[str, ...]


class Remains(Part[RemainsState]):
    """Reads `RemainsState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "paths": f"ls -d {' '.join(MADE)}",
        "packages": "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' "
        + " ".join(name for names in PACKAGES.values() for name in names),
        "data": f'for folder in {" ".join(DATA)}; do ls -A $folder | sed "s|^|$folder/|"; done',
    }

    def parse(self, found: Mapping[str, str]) -> RemainsState:
        packages = (line.split() for line in found["packages"].splitlines())
        return RemainsState(
            paths=tuple(found["paths"].split()),
            packages=tuple(words[1] for words in packages if len(words) == 2 and words[0] != "un"),
            data=tuple(found["data"].splitlines()),
        )
