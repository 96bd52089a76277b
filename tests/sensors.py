"""What a virtual Pi lacks of a real one, played by a program of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.commands import Lab

_VCGENCMD = "/usr/bin/vcgencmd"


@contextmanager
def throttled(lab: Lab, pi: str, bits: int) -> Iterator[None]:
    """A Pi whose firmware answers so to `vcgencmd get_throttled`, while the body runs; e.g. 0x50005: weak supply."""
    script = f'#!/bin/sh\\ntest "$1" = get_throttled && echo throttled={bits:#x}\\n'
    # In one step: it may be started at any moment.
    lab.on(
        pi,
        "sh",
        "-c",
        f"printf '{script}' > {_VCGENCMD}.new && chmod +x {_VCGENCMD}.new && mv {_VCGENCMD}.new {_VCGENCMD}",
    ).ok()
    try:
        yield
    finally:
        lab.on(pi, "rm", _VCGENCMD).ok()
