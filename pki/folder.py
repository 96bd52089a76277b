"""The folder that holds a cluster's keys and passwords, `.cluster/<name>/`."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def cluster_folder(name: str, root: Path) -> Path:
    """The folder of the cluster `name` under `root`, made 0700 if there is none.

    Raises:
        ValueError: the name is not one that a folder, a docker context and a host can share.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"cluster name {name!r}: use lower-case letters, digits and '-', e.g. 'shelf'")
    for folder in (root / ".cluster", root / ".cluster" / name):
        folder.mkdir(mode=0o700, exist_ok=True)
    return root / ".cluster" / name


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
        Path(temporary).unlink()
        raise
