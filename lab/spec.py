"""What a lab is made of: names, places and addresses, decided once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Self

from image.errors import UserError
from pki.folder import DOCKERS_OWN

CLONE = Path(__file__).resolve().parent.parent
DEFAULT_NAME = "lab"
LABEL_LAB = "pishelf.lab"
LABEL_CLONE = "pishelf.clone"
LABEL_NODE = "pishelf.node"
MOST_NODES = 200

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_FIRST_ADDRESS = 10


@dataclass(frozen=True)
class Lab:
    """One lab: its name, and the clone of the repository that it belongs to."""

    name: str
    clone: Path = CLONE

    @classmethod
    def parse(cls, name: str) -> Self:
        """Check a lab's name; raises UserError where it could not name a container or a folder."""
        if not _NAME.fullmatch(name):
            raise UserError(
                f"lab {name!r} cannot be a name of containers",
                "a letter, then letters, digits and dashes, 31 at most, all lower case",
            )
        if name == DOCKERS_OWN:
            raise UserError(
                f"lab {name!r}: docker calls this computer's own engine so", "another name: LAB=other make demo"
            )
        return cls(name)

    @property
    def state(self) -> Path:
        """The folder of this cluster's keys; git ignores it."""
        return self.clone / ".cluster" / self.name

    @property
    def labels(self) -> dict[str, str]:
        """What marks everything that belongs to this lab."""
        return {LABEL_LAB: self.name, LABEL_CLONE: str(self.clone)}


@dataclass(frozen=True)
class Node:
    """One virtual Pi, by its number (1 is the leader)."""

    lab: Lab
    number: int
    subnet: IPv4Network

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return f"pi{self.number}"

    @property
    def container(self) -> str:
        """What the engine calls it."""
        return f"{self.lab.name}-{self.name}"

    @property
    def address(self) -> IPv4Address:
        """Its fixed address in the lab's LAN."""
        return self.subnet.network_address + _FIRST_ADDRESS + self.number

    @property
    def volumes(self) -> dict[str, str]:
        """Volume -> folder inside. Overlay on overlay does not mount, so these two must be volumes."""
        return {
            f"{self.container}-docker": "/var/lib/docker",
            f"{self.container}-containerd": "/var/lib/containerd",
        }


def node_number(container: str) -> int:
    """`lab-pi3` -> 3; 0 where the name is not one of ours."""
    found = re.search(r"-pi([0-9]+)$", container)
    return int(found.group(1)) if found else 0
