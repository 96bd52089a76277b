"""The board, its power, its heat and its card."""

from __future__ import annotations

import re

from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, failure, not_applicable, ok, unknown, warning
from facts.board import Board, Card, Throttling

# Amperes at 5 V; source: raspberrypi.com/documentation/computers/raspberry-pi.html, "Power supply".
_AMPERES = {"5": 5.0, "4": 3.0}
_OTHERS = 2.5
_HOT, _TOO_HOT = 80.0, 85.0  # °C; at 85 the firmware slows the processor down
_KIB = 1024
_USUAL_PAGE = 4096
_PAST_ITS_LIFE, _NEARLY = 11, 9  # tenths of an eMMC's life, the first counted as 1
_NO_SENSOR = "no sensor: vcgencmd does not answer, as on a virtual Pi or without the package raspi-utils"


def amperes(model: str) -> float:
    """What a supply for this model has to give, at 5 V."""
    generation = re.search(r"Raspberry Pi (?:Compute Module )?(\d)", model)
    return _AMPERES.get(generation[1], _OTHERS) if generation else _OTHERS


def model(host: HostEvidence, _: Evidence) -> Finding:
    """Which Pi it is."""
    found = host.read(Board).model
    return ok(found.removeprefix("Raspberry ")) if found else unknown("not a Raspberry Pi, or a virtual one")


def power_supply(host: HostEvidence, _: Evidence) -> Finding:
    """What its supply has to give; whether it does is known of a Pi 5 alone."""
    board = host.read(Board)
    if not board.model:
        return unknown("depends on the model: 2.5 A at 5 V up to a Pi 3, 3 A for a Pi 4, 5 A for a Pi 5")
    needed = amperes(board.model)
    if board.supply and board.supply < needed * 1000:
        return warning(
            f"{board.supply / 1000:g} A",
            f"the supply promises {board.supply / 1000:g} A; the Pi leaves its USB ports 600 mA then",
            f"a supply that gives {needed:g} A at 5 V over USB-C power delivery (27 W)",
        )
    return ok(f"{'has' if board.supply else 'needs'} {needed:g} A")


def undervoltage(host: HostEvidence, _: Evidence) -> Finding:
    """Whether its voltage drops too low, now or since it booted."""
    board = host.read(Board)
    bits = board.throttling or Throttling(0)
    why = "below 4.63 V a Pi slows down, and its card and disks may lose data"
    fix = (
        f"a supply of {amperes(board.model):g} A at 5 V with a short, thick cable;"
        " a powered hub for what hangs on the USB ports"
    )
    if bits.undervoltage or board.undervoltage_alarm:
        return failure("too low now", why, fix)
    if bits.undervoltage_since_boot:
        return warning("was too low since boot", why, fix)
    if board.throttling is None and board.undervoltage_alarm is None:
        return unknown(_NO_SENSOR)
    return ok("none since boot" if board.throttling else "none now")


def throttling(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the processor is slowed down, now or since it booted."""
    bits = host.read(Board).throttling
    if bits is None:
        return unknown(_NO_SENSOR)
    fix = "more air or a heat sink; where under-voltage is found, too, a better supply first"
    if bits.slowed:
        return warning(f"{', '.join(bits.slowed)} now", "the processor runs slower than it could", fix)
    if bits.slowed_since_boot:
        return warning(f"{', '.join(bits.slowed_since_boot)} since boot", "the processor ran slower for a time", fix)
    return ok("none since boot")


def temperature(host: HostEvidence, _: Evidence) -> Finding:
    """How hot it is."""
    degrees = host.read(Board).temperature
    if degrees is None:
        return unknown("no sensor in /sys/class/thermal")
    value = f"{degrees:.0f} °C"
    if degrees >= _TOO_HOT:
        return failure(
            value, f"from {_TOO_HOT:.0f} °C on it is slowed down", "a heat sink and a fan, or a cooler place"
        )
    if degrees >= _HOT:
        return warning(value, f"close to {_TOO_HOT:.0f} °C, where it is slowed down", "a heat sink, or a fan")
    return ok(value)


def page_size(host: HostEvidence, _: Evidence) -> Finding:
    """How large the kernel's pages are."""
    size = host.read(Board).page_size
    if size is None:
        return unknown("getconf does not tell")
    if size == _USUAL_PAGE:
        return ok("4 KiB")
    return ok(
        f"{size // _KIB} KiB",
        "some programs crash on pages larger than 4 KiB (those with jemalloc, for instance);"
        " `kernel=kernel8.img` in /boot/firmware/config.txt and a reboot give 4 KiB",
    )


def card_wear(host: HostEvidence, _: Evidence) -> Finding:
    """How worn its card is."""
    cards = host.read(Board).cards
    if not cards:
        return not_applicable("it has no card")
    telling = [card for card in cards if any(card.life_time) or card.reserve]
    if not telling:
        return unknown("an SD card does not tell its wear; eMMC does")
    return _wear(max(telling, key=lambda card: (max(card.life_time, default=0), card.reserve)))


def _wear(card: Card) -> Finding:
    tenths = max(card.life_time, default=0)
    value = "past its life" if tenths >= _PAST_ITS_LIFE else f"{(tenths - 1) * 10}–{tenths * 10} % used"
    value = value if tenths else "life unknown"
    why = f"{card.device} was written nearly as often as it may be"
    fix = "copy it to a new one, or to an SSD; keep logs short"
    if tenths >= _PAST_ITS_LIFE or card.reserve >= 3:
        return failure(value, f"{card.device} was written as often as it may be, and can fail any day", fix)
    if tenths >= _NEARLY or card.reserve == 2:
        return warning(value, why, fix)
    return ok(value)
