"""The only place of `tools` that starts another program, and what a waiting person sees meanwhile."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

_TAIL = 12
_PLAIN_EVERY = 10.0
_LIVE_EVERY = 1.0


class SetupError(Exception):
    """What went wrong, which and why, in one line; the fix in the next."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}\n  Try: {fix}" if fix else message)


def say(line: str) -> None:
    """One line of progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def ask(*argv: str | Path) -> str | None:
    """What a program prints; None where it is not installed or fails."""
    try:
        done = subprocess.run(
            [*map(str, argv)], capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
        )
    except (FileNotFoundError, PermissionError):
        return None
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class Program:
    """One run of a program whose output goes to a log."""

    what: str
    log: Path
    argv: tuple[str, ...]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    text: str = ""

    def run(self) -> None:
        """Run it to its end, with a line that says for how long.

        Raises:
            SetupError: it failed; with its last lines and where the others are.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n$ {shlex.join(self.argv)}\n".encode())
            log.flush()
            began = log.tell()
            process = self._start(log.fileno())
            code = _watch(process, self.what)
        if code != 0:
            tail = "\n  ".join(_tail(self.log, began))
            raise SetupError(
                f"{self.what}: {shlex.join(self.argv)} ended with {code}:\n  {tail}\n  the whole log: {self.log}"
            )

    def _start(self, log: int) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env={**os.environ, **(self.env or {})},
                stdin=subprocess.PIPE if self.text else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except FileNotFoundError:
            raise SetupError(f"{self.what}: {self.argv[0]} is not installed") from None
        if process.stdin:
            process.stdin.write(self.text.encode())
            process.stdin.close()
        return process


def _tail(log: Path, began: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(began)
        return file.read().decode(errors="replace").strip().splitlines()[-_TAIL:]


def _watch(process: subprocess.Popen[bytes], what: str) -> int:
    """Wait for a program; ends it when we are interrupted."""
    try:
        return _each(lambda wait: process.wait(wait), what)
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _each(wait: Callable[[float], int], what: str) -> int:
    live = sys.stderr.isatty()
    began = monotonic()
    if not live:
        say(f"{what} …")
    while True:
        try:
            code = wait(_LIVE_EVERY if live else _PLAIN_EVERY)
        except subprocess.TimeoutExpired:
            line = f"{what} … {monotonic() - began:.0f} s"
            print(f"\r{line}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)
            continue
        if live:
            print("\r\033[K", end="", file=sys.stderr)
        if code == 0:
            say(f"{what}: done in {monotonic() - began:.0f} s")
        return code
