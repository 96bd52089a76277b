"""What a board and its sensors say: the model, the supply of power, heat, the card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part


@dataclass(frozen=True)
class Throttling:
    """The bits of `vcgencmd get_throttled`; source: raspberrypi.com/documentation/computers/os.html."""

    bits: int

    @property
    def undervoltage(self) -> bool:
        """Whether the voltage is too low now."""
        return bool(self.bits & 1 << 0)

    @property
    def undervoltage_since_boot(self) -> bool:
        """Whether it was too low at any time since the boot."""
        return bool(self.bits & 1 << 16)

    @property
    def slowed(self) -> tuple[str, ...]:
        """What slows the processor down now."""
        return self._words(0)

    @property
    def slowed_since_boot(self) -> tuple[str, ...]:
        """What slowed it down at any time since the boot."""
        return self._words(16)

    def _words(self, shift: int) -> tuple[str, ...]:
        words = {1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
        return tuple(word for bit, word in words.items() if self.bits & 1 << bit + shift)


@dataclass(frozen=True)
class Card:
    """A card or a soldered-on eMMC; a plain SD card tells nothing of its wear."""

    device: str
    life_time: tuple[int, ...]
    """In tenths of its life: 1 is 0–10 % used, 11 is past it; 0 is unknown. Source: JEDEC eMMC 5.0, EXT_CSD."""
    reserve: int
    """1 is normal, 2 is 80 % of the spare blocks used, 3 is 90 %; 0 is unknown."""


@dataclass(frozen=True)
class BoardState:
    """The hardware and what its sensors measure; None where there is no such sensor."""

    model: str
    """The device tree's words, e.g. `Raspberry Pi 4 Model B Rev 1.5`; empty on other machines."""
    page_size: int | None
    throttling: Throttling | None
    undervoltage_alarm: bool | None
    """The kernel's own sensor, which other systems than Raspberry Pi OS have, too."""
    temperature: float | None
    """Of the hottest sensor, in °C."""
    supply: int | None
    """What the power supply promised, in mA; only a Pi 5 asks it."""
    cards: tuple[Card, ...]


class Board(Part[BoardState]):
    """Reads `BoardState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "model": "tr -d '\\0' </proc/device-tree/model",
        "page_size": "getconf PAGESIZE",
        # Not the kernel's file of that name, which says 0 for ever on some kernels (raspberrypi/linux#2367).
        "throttled": "vcgencmd get_throttled",
        "alarm": "for chip in /sys/class/hwmon/hwmon*; do"
        ' if grep -qx rpi_volt "$chip/name"; then cat "$chip/in0_lcrit_alarm"; fi; done',
        "temperature": "cat /sys/class/thermal/thermal_zone*/temp || vcgencmd measure_temp",
        "supply": "od -An -td4 --endian=big /proc/device-tree/chosen/power/max_current",
        "cards": "for card in /sys/block/mmcblk?; do if test -d $card; then"
        ' echo "${card##*/}" $(cat $card/device/pre_eol_info $card/device/life_time); fi; done',
    }

    def parse(self, found: Mapping[str, str]) -> BoardState:
        throttled = re.search(r"throttled=0x([0-9a-fA-F]+)", found["throttled"], re.ASCII)
        alarm = found["alarm"].strip()
        supply = found["supply"].strip()
        return BoardState(
            model=found["model"].strip(),
            page_size=int(found["page_size"]) if found["page_size"].strip() else None,
            throttling=Throttling(int(throttled[1], 16)) if throttled else None,
            undervoltage_alarm=alarm != "0" if alarm else None,
            temperature=_hottest(found["temperature"]),
            supply=int(supply) if supply else None,
            cards=tuple(_card(line.split()) for line in found["cards"].splitlines() if line.strip()),
        )


def _hottest(text: str) -> float | None:
    """Of the kernel's thousandths of a degree, a line a sensor, or of `temp=62.3'C`."""
    said = re.search(r"temp=([0-9.]+)'C", text, re.ASCII)
    degrees = [float(said[1])] if said else [int(word) / 1000 for word in text.split() if re.fullmatch(r"-?\d+", word)]
    return max(degrees, default=None)


def _card(words: list[str]) -> Card:
    device, *health = words
    reserve, *life_time = [int(word, 16) for word in health] or [0]
    return Card(device, tuple(life_time), reserve)
