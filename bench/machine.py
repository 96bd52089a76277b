"""What the numbers were measured on."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from lab import engine


def describe(command: str, versions: Mapping[str, str]) -> str:
    """A few sentences: when, by which command, on what machine, which versions."""
    versions = {
        "Python": platform.python_version(),
        **versions,
        "the lab's engine": str(engine.connect().version()["Version"]),
        "Linux": platform.release(),
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"`{command}`, {dt.datetime.now(dt.UTC):%Y-%m-%d}. Controller and virtual Pis share one machine:"
        f" {os.cpu_count()} cores ({processor(Path('/proc/cpuinfo').read_text(encoding='utf-8'))}),"
        f" {memory:.0f} GiB. {listed}."
    )


def processor(cpuinfo: str) -> str:
    """The processor's name as /proc/cpuinfo tells it; a Pi's kernel tells none."""
    named = [
        line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith(("model name", "Model"))
    ]
    return named[0] if named else platform.machine()
