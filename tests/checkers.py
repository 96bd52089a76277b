"""Programs that only tests run: upstream's own checkers, compiled for this machine from the images' pins."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from image import plan
from image.builder.compile import compiled
from tests.image.programs import OWN


@cache
def checker(image: str, program: str) -> Path:
    """A program of an image's own module, e.g. promtool of prometheus'; compiled once for all clones."""
    (found,) = plan.read((image,))
    assert found.about.go
    go = replace(found.about.go, package=f"{found.about.go.module}/cmd/{program}")
    return compiled(replace(found, about=replace(found.about, program=program, go=go)), go, OWN)
