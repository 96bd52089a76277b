"""A swarm whose managers ask for a key after a restart, so that a stolen card tells no secrets.

The key stays in the cluster's folder, and goes to an engine in standard input only. Source: moby/moby#36852.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import Host
from pyinfra.api.command import PyinfraCommand

from facts.swarm import Swarm
from operations import leader
from operations.api import EngineApi
from operations.drain import insist
from operations.known import converges, known
from operations.refusal import OnController, Refused
from operations.swarm import await_active
from pki.records import keep_unlock_key, unlock_key


def unlock(of: Host, folder: Path) -> None:
    """Unlock the engine of a host with the key that `folder` keeps.

    Raises:
        ValueError: there is no key, or the engine refuses it.
    """
    key = unlock_key(folder)
    if not key:
        raise ValueError(
            f"its swarm is locked and {folder} has no unlock-key; `docker swarm unlock` on {of.name}, then run again"
        )
    EngineApi(of).post("/swarm/unlock", {"UnlockKey": key})
    await_active(EngineApi(of))


def keep_current(api: EngineApi, folder: Path) -> None:
    """Keep the key that a manager's swarm has by now; only that one opens what is locked from now on."""
    keep_unlock_key(folder, api.get("/swarm/unlockkey")["UnlockKey"])


@converges(Swarm, everywhere=True)
def unlocked(folder: Path) -> Generator[PyinfraCommand, None, None]:
    """Unlock this host's manager after a restart, where it asks for the key."""
    membership = known(Swarm).membership
    if membership is None or membership.state != "locked":
        host.noop("not locked")
        return
    yield OnController("unlocking the swarm", lambda: unlock(host, folder))


@converges(Swarm, everywhere=True)
def autolocked(wanted: bool, folder: Path) -> Generator[PyinfraCommand, None, None]:
    """Have the swarm's managers ask for a key after a restart, or not; this host speaks for the swarm if it leads."""
    speaks = leader.required("locking the swarm")
    if speaks.host.name != host.name:
        host.noop("another host speaks for the swarm")
        return
    kept = unlock_key(folder)
    if speaks.state.autolocked == wanted and bool(kept) == wanted and not (wanted and _is_stale(kept, speaks.api)):
        host.noop("already so")
        return
    yield OnController("locking the swarm", lambda: _autolock(speaks.api, wanted, folder))


def _is_stale(kept: str, api: EngineApi) -> bool:
    """Whether managers ask for another key by now, as after `docker swarm unlock-key --rotate`."""
    if not state.is_executing:
        return False  # asked once, when it counts
    try:
        return kept != str(api.get("/swarm/unlockkey")["UnlockKey"])
    except ValueError as error:
        raise Refused(f"comparing the kept unlock key with the swarm's: {error}; run again") from error


def _autolock(api: EngineApi, wanted: bool, folder: Path) -> None:
    def change() -> None:
        swarm = api.get("/swarm")
        swarm["Spec"]["EncryptionConfig"]["AutoLockManagers"] = wanted
        api.post(f"/swarm/update?version={swarm['Version']['Index']}", swarm["Spec"])

    insist(change)
    if wanted:
        keep_current(api, folder)
    else:
        keep_unlock_key(folder, "")
