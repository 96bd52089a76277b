"""What a cluster's folder remembers of its swarm: its ID, and the key that unlocks its managers."""

from __future__ import annotations

import re
from pathlib import Path

from pki.folder import write_private

_SWARM_ID = "swarm-id"
_UNLOCK_KEY = "unlock-key"
_FORMS = {_SWARM_ID: re.compile(r"[0-9a-z]{25}"), _UNLOCK_KEY: re.compile(r"SWMKEY-1-[0-9A-Za-z+/]{43}")}


def swarm_id(folder: Path) -> str:
    """The ID of the swarm that the cluster was when it was last seen; empty if it never was one.

    Raises:
        ValueError: the file holds something else.
    """
    return _read(folder / _SWARM_ID)


def keep_swarm_id(folder: Path, cluster_id: str) -> None:
    """Remember the swarm's ID; an empty one forgets it.

    Raises:
        ValueError: it is none.
    """
    _write(folder / _SWARM_ID, cluster_id)


def unlock_key(folder: Path) -> str:
    """The key that lets an autolocked manager back in; empty if there is none.

    Raises:
        ValueError: the file holds something else, which is not shown.
    """
    return _read(folder / _UNLOCK_KEY)


def keep_unlock_key(folder: Path, key: str) -> None:
    """Keep the key for its owner alone; an empty one forgets it.

    Raises:
        ValueError: it is no such key; it is not shown, and the one that is kept stays.
    """
    _write(folder / _UNLOCK_KEY, key)


def _read(path: Path) -> str:
    if not path.exists():
        return ""
    text = path.read_bytes().decode("ascii", errors="replace").strip()
    if not _FORMS[path.name].fullmatch(text):
        raise ValueError(f"{path} holds no {path.name}; bring it back from a backup, or remove it")
    return text


def _write(path: Path, text: str) -> None:
    if not text:
        path.unlink(missing_ok=True)
    elif _FORMS[path.name].fullmatch(text):
        write_private(path, f"{text}\n".encode("ascii"))
    else:
        raise ValueError(f"the engine gave something that is no {path.name}; {path} stays as it is")
