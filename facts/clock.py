"""Which time servers a host was told to ask. One round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part

TIMESYNCD_CONF = "/etc/systemd/timesyncd.conf.d/pishelf.conf"


@dataclass(frozen=True)
class TimeServersState:
    """What systemd-timesyncd, Raspberry Pi OS's own keeper of the time, was told."""

    conf: str
    """Our part of its configuration; empty where there is none."""
    timesyncd: bool
    """Whether the host has it; a host with chrony has not."""


class TimeServers(Part[TimeServersState]):
    """Reads `TimeServersState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "conf": f"cat {TIMESYNCD_CONF}",
        "timesyncd": "test -e /lib/systemd/systemd-timesyncd && echo yes",
    }

    def parse(self, found: Mapping[str, str]) -> TimeServersState:
        return TimeServersState(conf=found["conf"].strip(), timesyncd=found["timesyncd"].strip() == "yes")
