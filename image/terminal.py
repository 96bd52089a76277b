"""What a terminal can show."""

from __future__ import annotations

import os
from typing import TextIO


def lively(stream: TextIO) -> bool:
    """Whether lines may be drawn anew, in colours: on a terminal, unless its owner wants plain text.

    Source of the variable: no-color.org. Who sets it pastes what is shown, or reads it aloud.
    """
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
