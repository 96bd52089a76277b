"""The only place that starts another program."""

from __future__ import annotations

import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from image.errors import UserError

_log = logging.getLogger(__name__)
_TAIL = 8
_LOOK_UP = 0.5  # seconds
# Ctrl-C reaches the main thread alone; programs that other threads wait for learn of it here.
_stopping = threading.Event()
# The tools of this clone before those of the machine, also where no make set the PATH.
_OURS = (str(Path(__file__).resolve().parent.parent / ".build" / "bin"), str(Path(sys.prefix) / "bin"))


class ProgramError(UserError):
    """A program failed; `code` is negative where a signal ended it, and `output` is all that it said."""

    def __init__(self, message: str, code: int, output: str) -> None:
        super().__init__(message)
        self.code = code
        self.output = output


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    base: Mapping[str, str] | None = None,
    text: str | None = None,
    timeout: float | None = None,
    log: Path | None = None,
    both: bool = False,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        env: what differs from `base`.
        base: the program's environment; without it, it is this process's.
        text: given to the program's standard input; without it there is none.
        timeout: seconds after which the program is ended.
        log: where all that the program said is written if it fails.
        both: return what it said on standard error, too.

    Raises:
        UserError: it is not installed, it failed (ProgramError) or it took too long; with the command as
            one can paste it and the program's last lines.
        KeyboardInterrupt: `stop` was called; what a program that was ended said of it counts for nothing.
    """
    words = [str(word) for word in argv]
    if _stopping.is_set():
        raise KeyboardInterrupt
    _log.info("%s", _pasteable(words, cwd, env or {}, text))
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=_environment(os.environ if base is None else base, env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise UserError(f"{words[0]} is not installed", "make setup") from None
    done = _ended(process, words, text or "", timeout)
    if done.returncode != 0:
        if _stopping.is_set():
            raise KeyboardInterrupt
        tail = "\n  ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL:])
        message = f"{shlex.join(words)} ended with {done.returncode}:\n  {tail}" + _kept(log, done)
        raise ProgramError(message, done.returncode, done.stdout + done.stderr)
    return done.stdout + done.stderr if both else done.stdout


def _pasteable(words: list[str], cwd: Path | None, env: Mapping[str, str], text: str | None) -> str:
    """The command for a shell, with the folder and the environment that make it what it is.

    Not with what it is given on its standard input, which may be a password.
    """
    place = f"cd {shlex.quote(str(cwd))} && " if cwd else ""
    settings = "".join(f"{name}={shlex.quote(value)} " for name, value in env.items())
    given = f"  # reads {len(text)} characters from standard input" if text else ""
    return f"{place}{settings}{shlex.join(words)}{given}"


def stop() -> None:
    """End the programs that run, and start no more: a person has interrupted this process."""
    _stopping.set()


def end_as_by_ctrl_c() -> None:
    """From now, whoever ends this process ends the programs that it has started, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _ended(
    process: subprocess.Popen[str], words: list[str], text: str, timeout: float | None
) -> subprocess.CompletedProcess[str]:
    """Wait for a program; look up now and then, for a thread that waits is not interrupted."""
    end = math.inf if timeout is None else time.monotonic() + timeout
    given: str | None = text
    with process:
        while True:
            try:
                stdout, stderr = process.communicate(given, timeout=min(_LOOK_UP, max(0.0, end - time.monotonic())))
                return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)
            except subprocess.TimeoutExpired:
                given = None  # what was not sent yet still is
                if _stopping.is_set():
                    process.terminate()
                elif time.monotonic() >= end:
                    process.kill()
                    raise UserError(f"{shlex.join(words)} did not end within {timeout:.0f} s") from None
            except BaseException:
                process.kill()
                raise


def _kept(log: Path | None, done: subprocess.CompletedProcess[str]) -> str:
    """Write down all that a failed program said, and say where."""
    if not log:
        return ""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{shlex.join(done.args)}\n{done.stdout}{done.stderr}", encoding="utf-8")
    except OSError as error:  # a full disk may be why it failed
        return f"\n  (cannot write {log}: {error.strerror})"
    return f"\n  all of it: {log}"


def _environment(base: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    environment = {**base, **changes}
    return {**environment, "PATH": os.pathsep.join((*_OURS, environment.get("PATH", os.defpath)))}
