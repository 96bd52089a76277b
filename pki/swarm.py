"""What we keep of the swarm itself, in the cluster's folder: its ID, and the key that unlocks its managers."""

from __future__ import annotations

import re
from pathlib import Path

from pki.folder import write_private

_ID, _UNLOCK_KEY = "swarm-id", "unlock-key"
_ID_FORM = re.compile(r"[0-9a-z]{25}")
_UNLOCK_KEY_FORM = re.compile(r"SWMKEY-1-[0-9A-Za-z+/]{43}")


def swarm_id(folder: Path) -> str | None:
    """The ID of the swarm that this cluster is; None where it was never written.

    Raises:
        ValueError: the file holds something else.
    """
    return _read(folder / _ID, _ID_FORM)


def keep_swarm_id(folder: Path, identity: str) -> None:
    """Write the swarm's ID; raises ValueError where it is none."""
    _keep(folder / _ID, identity, _ID_FORM)


def unlock_key(folder: Path) -> str | None:
    """The key that a locked manager asks for after each start of its engine; None where it was never written.

    Raises:
        ValueError: the file holds something else, which is not shown.
    """
    return _read(folder / _UNLOCK_KEY, _UNLOCK_KEY_FORM)


def keep_unlock_key(folder: Path, key: str) -> None:
    """Write the key before the swarm is locked with it: without it a manager that restarts is lost.

    Raises:
        ValueError: it is no such key; it is not shown.
    """
    _keep(folder / _UNLOCK_KEY, key, _UNLOCK_KEY_FORM)


def forget_swarm(folder: Path) -> None:
    """Remove what is known of a swarm that is no more."""
    for name in (_ID, _UNLOCK_KEY):
        (folder / name).unlink(missing_ok=True)


def forget_unlock_key(folder: Path) -> None:
    """Remove the key of a swarm that is no longer locked."""
    (folder / _UNLOCK_KEY).unlink(missing_ok=True)


def _read(path: Path, form: re.Pattern[str]) -> str | None:
    try:
        text = path.read_bytes().decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    if not form.fullmatch(text):
        raise ValueError(f"{path} holds no {path.name.replace('-', ' ')}; bring it back from a backup, or remove it")
    return text


def _keep(path: Path, text: str, form: re.Pattern[str]) -> None:
    if not form.fullmatch(text):
        raise ValueError(f"the engine gave something that is no {path.name.replace('-', ' ')}; {path} stays as it is")
    write_private(path, f"{text}\n".encode("ascii"))
