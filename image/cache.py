"""Results by what they were made from, shared by all clones of a user.

An entry appears under its name only when it is whole, so a run that was killed leaves nothing that a
later run could take for a result.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from image.errors import UserError

_ABANDONED = 24 * 3600.0  # seconds
_UNUSED = 60 * _ABANDONED
_FULL = (errno.ENOSPC, errno.EDQUOT)


def folder() -> Path:
    """Where results are kept; the XDG specification's place."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pishelf" / "artefacts"


def find(kind: str, parts: object) -> Path | None:
    """The entry that was made from `parts`, if there is one; it counts as used then."""
    entry = folder() / f"{kind}-{_key(parts)}"
    try:
        os.utime(entry)
    except FileNotFoundError:
        return None
    except OSError:  # another user's, or on a disk that is read-only: it serves all the same
        pass
    return entry


def ensure(kind: str, parts: object, make: Callable[[Path], None]) -> Path:
    """The entry made from `parts`; where there is none, `make` fills an empty folder for it.

    Args:
        kind: what it is, for people who look into the cache.
        parts: all that decides the result; whatever JSON can write.

    Raises:
        UserError: there is no room for it, or `make` raises.
    """
    if found := find(kind, parts):
        return found
    entry = folder() / f"{kind}-{_key(parts)}"
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=entry.parent))
    except OSError as error:
        raise _not_written(entry.parent, error) from error
    try:
        _fill(work, kind, make)
        _keep(work, entry)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return entry


def _fill(work: Path, kind: str, make: Callable[[Path], None]) -> None:
    """Have the result made; what it cannot read is no fault of this folder's disk."""
    try:
        make(work)
    except OSError as error:
        if error.errno in _FULL:
            raise _not_written(work.parent, error) from error
        raise UserError(f"making a result of the kind {kind!r}: {error}") from error


def _keep(work: Path, entry: Path) -> None:
    """Give a whole result its name."""
    try:
        _to_disk(work)
        os.utime(work)
        work.rename(entry)
    except OSError as error:
        if not entry.is_dir():  # else another run was quicker, with the same
            raise _not_written(entry, error) from error


def _not_written(path: Path, error: OSError) -> UserError:
    why = "the disk is full" if error.errno in _FULL else error.strerror
    return UserError(f"cannot write {path}: {why}", "df -h, or set XDG_CACHE_HOME")


def lasting(name: str) -> Path:
    """A folder that a program keeps for its own later runs; it counts as used now."""
    kept = folder() / name
    try:
        kept.mkdir(parents=True, exist_ok=True)
        os.utime(kept)
    except OSError as error:
        raise _not_written(kept, error) from error
    return kept


def sweep(now: float | None = None) -> None:
    """Remove what nobody has used for two months, and what runs that were killed a day ago left.

    Args:
        now: seconds since the epoch, if not the time now.
    """
    time_now = time.time() if now is None else now
    for entry in folder().glob("*"):
        with suppress(OSError):  # another run removes it, too
            age = time_now - entry.stat().st_ctime  # of its making, or of its last use
            if age > (_ABANDONED if entry.name.startswith(".") else _UNUSED):
                _remove(entry)


def _remove(entry: Path) -> None:
    """Take away its name first: half of an entry must not be taken for one."""
    doomed = entry if entry.name.startswith(".") else entry.with_name(f".removed-{os.getpid()}-{entry.name}")
    entry.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """Put a file at `target` without a copy, where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _key(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _to_disk(work: Path) -> None:
    """Files first, their entry after: a power cut must not leave an entry with empty files."""
    for path in work.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
