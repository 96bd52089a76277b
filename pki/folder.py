"""The folder that holds a cluster's keys and passwords, `.cluster/<name>/`."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
DOCKERS_OWN = "default"
"""The context that docker itself has; none of a cluster's can be called so."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def cluster_folder(name: str, root: Path) -> Path:
    """The folder of the cluster `name` under `root`, made 0700 if there is none.

    Raises:
        ValueError: the name is not one that a folder, a docker context and a host can share.
    """
    path = _path(name, root)
    for folder in (path.parent, path):
        folder.mkdir(mode=0o700, exist_ok=True)
        _close(folder)
    return path


def existing_folder(name: str, root: Path) -> Path:
    """The folder of the cluster `name` under `root`.

    Raises:
        ValueError: there is none; it says which there are.
    """
    path = _path(name, root)
    if not path.is_dir():
        there = ", ".join(sorted(folder.name for folder in path.parent.glob("*") if folder.is_dir()))
        raise ValueError(f"there is no cluster {name!r} in {path.parent}, which has {there or 'none'}")
    return path


def _path(name: str, root: Path) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"cluster name {name!r}: use lower-case letters, digits and '-', e.g. 'shelf'")
    if name == DOCKERS_OWN:
        raise ValueError(f"cluster name {name!r}: docker calls this computer's own engine so; choose another")
    return root / ".cluster" / name


def close(folder: Path) -> None:
    """Take all rights on a folder and what is in it from other users, e.g. where a person copied a CA there.

    Raises:
        ValueError: the file system or the owner of one does not let us.
    """
    for path in (folder, *folder.rglob("*")):
        try:
            _close(path)
        except FileNotFoundError:
            continue  # a temporary file that is in its place by now, or a link that leads nowhere


def _close(path: Path) -> None:
    if not (mode := path.stat().st_mode) & _OTHERS:
        return
    with suppress(PermissionError):  # told below, in our words
        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    if path.stat().st_mode & _OTHERS:
        raise ValueError(
            f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}), and that cannot be changed; "
            f"make it yours and run again, e.g. sudo chown $USER {path}"
        )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads (0600), whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)  # stopped right after the last step
        raise
