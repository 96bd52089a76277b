"""How long pieces of work took the last time, and what that says of the time left: an estimate, no promise."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from time import monotonic

from image import cache

# What was quicker was found in the cache, and says nothing of the work.
_WORTH_REMEMBERING = 1.0


def remember(what: str, seconds: float) -> None:
    """Note how long a piece of work took, e.g. `prometheus linux/arm/v7`; a disk that is full does not matter."""
    if seconds < _WORTH_REMEMBERING:
        return
    file = _folder() / _name(what)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.write_text(f"{seconds:.1f}", encoding="ascii")
        new.replace(file)


def last(what: str) -> float | None:
    """Seconds that a piece of work took; for another platform, if it never was done for this one."""
    exact = _folder() / _name(what)
    if exact.exists():
        return _read(exact)
    program, _, kind = what.partition(" ")
    known = [_read(file) for file in _folder().glob(f"{program} linux-*")] if kind.startswith("linux/") else []
    times = [seconds for seconds in known if seconds is not None]
    return sum(times) / len(times) if times else None


def seconds_left(waiting: Collection[float], working: Collection[tuple[float, float]], at_once: int) -> float:
    """How long it may take until all is done.

    Args:
        waiting: what each piece takes that has not begun.
        working: for each piece that has, how long ago it did and what it takes in all.
        at_once: how many are worked on at a time.
    """
    remaining = [max(0.0, whole - spent) for spent, whole in working]
    longest = max((*waiting, *remaining), default=0.0)
    return max(longest, (sum(waiting) + sum(remaining)) / at_once)


class TimeLeft:
    """Follows pieces of work, which may be of several threads, and says how long they may still take."""

    def __init__(self, pieces: Collection[str], at_once: int) -> None:
        self._expected = {piece: last(piece) for piece in pieces}
        self._at_once = at_once
        self._begun: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(self, what: str) -> None:
        """It is worked on from now."""
        with self._lock:
            self._begun[what] = monotonic()
            # One that ended meanwhile may tell how long those of its kind take.
            self._expected |= {piece: last(piece) for piece, seconds in self._expected.items() if seconds is None}

    def end(self, what: str) -> None:
        """It is done."""
        with self._lock:
            self._expected.pop(what, None)
            self._begun.pop(what, None)

    def __str__(self) -> str:
        """E.g. `about 3 min left`; empty where nothing is known of what is to be done."""
        with self._lock:
            expected, begun = dict(self._expected), dict(self._begun)
        known = {what: seconds for what, seconds in expected.items() if seconds is not None}
        if not known:
            return ""
        waiting = [seconds for what, seconds in known.items() if what not in begun]
        working = [(monotonic() - since, known[what]) for what, since in begun.items() if what in known]
        seconds = seconds_left(waiting, working, self._at_once)
        # Of what was never done before there is nothing to say but that it comes on top.
        return f"{'about' if len(known) == len(expected) else 'more than'} {_rounded(seconds)} left"


def _rounded(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(5, 5 * round(seconds / 5))} s"


def _folder() -> Path:
    return cache.folder().parent / "durations"


def _name(what: str) -> str:
    return re.sub(r"[^\w .-]", "-", what)


def _read(file: Path) -> float | None:
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
