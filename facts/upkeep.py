"""Who changes a host's programs when nobody is looking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part


@dataclass(frozen=True)
class UpkeepState:
    """Upgrades that happen by themselves."""

    unattended: bool
    """Whether upgrades are installed without anyone asking."""


class Upkeep(Part[UpkeepState]):
    """Reads `UpkeepState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "installed": "dpkg-query -W -f '${db:Status-Abbrev}' unattended-upgrades",
        "setting": "apt-config dump APT::Periodic::Unattended-Upgrade",
    }

    def parse(self, found: Mapping[str, str]) -> UpkeepState:
        return UpkeepState(unattended=found["installed"].strip()[1:2] == "i" and _on(found["setting"]))


def _on(setting: str) -> bool:
    """Of `APT::Periodic::Unattended-Upgrade "1";`: 0 is never, all else a number of days, or `always`."""
    return setting.partition('"')[2].partition('"')[0] not in ("", "0")
