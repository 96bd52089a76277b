"""What a cluster's folder remembers of its swarm."""

from __future__ import annotations

from pathlib import Path

from pki.folder import write_private

_SWARM_ID = "swarm-id"
_UNLOCK_KEY = "unlock-key"


def swarm_id(folder: Path) -> str:
    """The ID of the swarm that the cluster was when it was last seen; empty if it never was one."""
    return _read(folder / _SWARM_ID)


def keep_swarm_id(folder: Path, cluster_id: str) -> None:
    """Remember the swarm's ID; an empty one forgets it."""
    _write(folder / _SWARM_ID, cluster_id)


def unlock_key(folder: Path) -> str:
    """The key that lets an autolocked manager back in; empty if there is none."""
    return _read(folder / _UNLOCK_KEY)


def keep_unlock_key(folder: Path, key: str) -> None:
    """Keep the key for its owner alone; an empty one forgets it."""
    _write(folder / _UNLOCK_KEY, key)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _write(path: Path, text: str) -> None:
    if text:
        write_private(path, f"{text}\n".encode())
    else:
        path.unlink(missing_ok=True)
