"""What goes through a host's links, and what listens to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part


@dataclass(frozen=True)
class Listener:
    """An open TCP port; `address` is `*`, `0.0.0.0` or `[::]` where it is open to all."""

    address: str
    port: int

    @property
    def local(self) -> bool:
        """Whether only the host itself reaches it."""
        return self.address.startswith("127.") or self.address == "[::1]"


@dataclass(frozen=True)
class LinksState:
    """What `ip` and `ss` say."""

    mtu: Mapping[str, int]
    """By link."""
    listeners: tuple[Listener, ...]
    ufw: bool
    """Whether ufw is switched on."""


class Links(Part[LinksState]):
    """Reads `LinksState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "links": "ip -o link show",
        "listeners": "ss -H -l -t -n",
        "ufw": "grep -x 'ENABLED=yes' /etc/ufw/ufw.conf",
    }

    def parse(self, found: Mapping[str, str]) -> LinksState:
        return LinksState(
            mtu=dict(_mtu(line.split()) for line in _lines(found["links"])),
            listeners=tuple(_listener(line.split()) for line in _lines(found["listeners"])),
            ufw=bool(found["ufw"].strip()),
        )


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _mtu(words: list[str]) -> tuple[str, int]:
    """Of `2: eth0@if7: <BROADCAST,UP> mtu 1500 qdisc …`."""
    return words[1].rstrip(":").partition("@")[0], int(words[words.index("mtu") + 1])


def _listener(words: list[str]) -> Listener:
    """Of `LISTEN 0 128 0.0.0.0:22 0.0.0.0:*`."""
    address, _, port = words[3].rpartition(":")
    return Listener(address, int(port))
