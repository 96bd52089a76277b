"""The only place that starts another program."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from image.errors import UserError

_TAIL = 8


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        env: what differs from this process's environment.
        text: given to the program's standard input; without it there is none.
        timeout: seconds after which the program is ended.

    Raises:
        UserError: it is not installed, it failed or it took too long; with the command as one can
            paste it and the program's last lines.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=text or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(f"{words[0]} is not installed", "make setup") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{shlex.join(words)} did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        tail = "\n  ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL:])
        raise UserError(f"{shlex.join(words)} ended with {done.returncode}:\n  {tail}")
    return done.stdout
