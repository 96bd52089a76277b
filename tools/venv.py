"""The virtual environment: exactly what requirements.txt pins."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from tools.run import Program

_STAMP = "made-from"


def is_current(clone: Path) -> bool:
    """Whether .venv is whole, and made from requirements.txt as it is now."""
    python = clone / ".venv" / "bin" / "python"
    stamp = clone / ".venv" / _STAMP
    return os.access(python, os.X_OK) and stamp.exists() and stamp.read_text(encoding="ascii") == _key(clone)


def make(clone: Path, log: Path) -> None:
    """Make .venv anew. The stamp comes last: without it the next run begins again."""
    folder = clone / ".venv"
    (folder / _STAMP).unlink(missing_ok=True)
    Program("making .venv", log, (str(_python()), "-m", "venv", "--clear", str(folder))).run()
    requirements = str(clone / "requirements.txt")
    install = ("-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "-r", requirements)
    Program("installing Python packages, Go and Node into .venv", log, (str(folder / "bin" / "python"), *install)).run()
    stamp(clone)


def stamp(clone: Path) -> None:
    """Mark .venv as whole."""
    (clone / ".venv" / _STAMP).write_text(_key(clone), encoding="ascii")


def _python() -> Path:
    """The system's Python, also where this very program runs with the one of .venv."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = Path(sys.base_prefix) / "bin" / name
    return system if sys.prefix != sys.base_prefix and system.exists() else Path(sys.executable)


def _key(clone: Path) -> str:
    """Changes with the pins, with Python, and with the place (scripts in .venv hold its path)."""
    pins = hashlib.sha256((clone / "requirements.txt").read_bytes()).hexdigest()
    place = hashlib.sha256(str(clone).encode()).hexdigest()[:12]
    return f"{pins} {sys.version_info.major}.{sys.version_info.minor} {place}"
