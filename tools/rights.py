"""Who we are, and how we become root where that is needed."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.run import Program, SetupError, ask


@dataclass(frozen=True)
class Rights:
    """How to run a program as root."""

    prefix: tuple[str, ...]

    def program(self, what: str, log: Path, *argv: str, env: dict[str, str] | None = None, text: str = "") -> Program:
        """A program that runs as root. `sudo` forgets the environment, so it goes through `env`."""
        words = tuple(f"{name}={value}" for name, value in (env or {}).items())
        return Program(what, log, (*self.prefix, *(("env", *words) if words else ()), *argv), text=text)


def become_root(why: str, clone: Path) -> Rights:
    """Find a way to root.

    Raises:
        SetupError: there is none; with the command that someone who is root can type.
    """
    if os.geteuid() == 0:
        return Rights(())
    # With a terminal sudo can ask for the password itself.
    if shutil.which("sudo") and (ask("sudo", "-n", "true") is not None or sys.stdin.isatty()):
        return Rights(("sudo",))
    raise SetupError(
        f"{why} needs root, and sudo is not there or wants a password that nobody can type here",
        f"as root: cd {clone} && {sys.executable} -m tools.setup --system-only",
    )
