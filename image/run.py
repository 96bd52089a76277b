"""The only place that starts another program."""

from __future__ import annotations

import atexit
import logging
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from image.errors import UserError

_log = logging.getLogger(__name__)
_TAIL = 8
_LOOK_UP = 0.5  # seconds
_GRACE = 3.0
# Signals reach the main thread alone; programs that other threads wait for learn of them here. It is one for the
# process, as its signals are, and stays set: a process that was interrupted ends.
_stopping = threading.Event()
_running: set[int] = set()
"""The programs that run now, by their process numbers."""
_BUILD = Path(__file__).resolve().parent.parent / ".build"
LOGS = _BUILD / "log"
"""Where what failed programs said is kept."""
# The tools of this clone before those of the machine, also where no make set the PATH.
_OURS = (str(_BUILD / "bin"), str(Path(sys.prefix) / "bin"))


class ProgramError(UserError):
    """A program failed; `code` is negative where a signal ended it, and `output` is all that it said."""

    def __init__(self, message: str, code: int, output: str) -> None:
        super().__init__(message)
        self.code = code
        self.output = output


class LateError(UserError):
    """A program did not end in time."""


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
        UserError: it cannot be started, it failed (ProgramError) or it took too long (LateError); with the command as
            one can paste it and the program's last lines.
        KeyboardInterrupt: this process was interrupted (`end_as_by_ctrl_c`); what a program that was ended said
            of it counts for nothing.
    """
    words = [str(word) for word in argv]
    environment = _environment(os.environ if base is None else base, env or {})
    if _stopping.is_set():
        raise KeyboardInterrupt
    _log.info("%s", _pasteable(words, cwd, env or {}, text))
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # so that it can be ended with all that it started
        )
    except OSError as error:
        raise _not_started(words[0], cwd, environment, error) from error
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


def end_as_by_ctrl_c() -> None:
    """From now, whoever ends this process, or closes its terminal, ends the programs that it has started, too."""

    def interrupt(*_: object) -> None:
        _stopping.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup asks for
            signal.signal(number, interrupt)
    atexit.register(_wait_for_the_rest)


def _wait_for_the_rest() -> None:
    """See other threads end their programs: Python takes a thread for ended if Ctrl-C comes while it is joined."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who presses it once more does not want to wait
    end = time.monotonic() + _LOOK_UP + 3 * _GRACE
    while _stopping.is_set() and _running and time.monotonic() < end:
        time.sleep(0.05)


def _ended(
    process: subprocess.Popen[str], words: list[str], text: str, timeout: float | None
) -> subprocess.CompletedProcess[str]:
    """Wait for a program; look up now and then, for a thread that waits is not interrupted."""
    end = math.inf if timeout is None else time.monotonic() + timeout
    given: str | None = text
    _running.add(process.pid)
    with process:
        try:
            while True:
                try:
                    stdout, stderr = process.communicate(given, timeout=min(_LOOK_UP, max(0.0, end - time.monotonic())))
                    return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)
                except subprocess.TimeoutExpired:
                    given = None  # what was not sent yet still is
                if _stopping.is_set():
                    raise KeyboardInterrupt
                if time.monotonic() >= end:
                    raise LateError(f"{shlex.join(words)} did not end within {timeout:.0f} s")
        except BaseException:
            _end(process)
            raise
        finally:
            _running.discard(process.pid)


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and those that it started; first so that they can tidy up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired, ValueError):  # ValueError: its pipes are closed already
            process.communicate(timeout=_GRACE)
            return


def _not_started(program: str, cwd: Path | None, environment: Mapping[str, str], error: OSError) -> UserError:
    """Why the system did not start a program; its own words are about the wrong file where two may be meant."""
    if cwd and not cwd.is_dir():
        return UserError(f"{program} cannot be started in {cwd}: there is no such folder")
    found = shutil.which(program, path=environment["PATH"])
    if not isinstance(error, FileNotFoundError):
        return UserError(f"{program} cannot be started: {error.strerror}", f"file {found or program}")
    if found:
        return UserError(f"{found} cannot be started: its interpreter or loader is not there", f"file {found}")
    return UserError(f"{program} is not installed", "make setup")


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
