"""The only place that starts another program."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from image.errors import UserError

_TAIL = 8
# The tools of this clone before those of the machine, also where no make set the PATH.
_OURS = (str(Path(__file__).resolve().parent.parent / ".build" / "bin"), str(Path(sys.prefix) / "bin"))


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
    timeout: float | None = None,
    log: Path | None = None,
    both: bool = False,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        env: what differs from this process's environment.
        text: given to the program's standard input; without it there is none.
        timeout: seconds after which the program is ended.
        log: where all that the program said is written if it fails.
        both: return what it said on standard error, too.

    Raises:
        UserError: it is not installed, it failed or it took too long; with the command as one can
            paste it and the program's last lines.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=_environment(env or {}),
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
        raise UserError(f"{shlex.join(words)} ended with {done.returncode}:\n  {tail}" + _kept(log, done))
    return done.stdout + done.stderr if both else done.stdout


def _kept(log: Path | None, done: subprocess.CompletedProcess[str]) -> str:
    """Write down all that a failed program said, and say where."""
    if not log:
        return ""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{shlex.join(done.args)}\n{done.stdout}{done.stderr}", encoding="utf-8")
    return f"\n  all of it: {log}"


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, **changes}
    return {**environment, "PATH": os.pathsep.join((*_OURS, environment.get("PATH", os.defpath)))}
