"""One command of a clone at a time changes the registry of a cluster."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from image.cluster import Cluster
from image.errors import UserError
from image.plan import ROOT
from image.progress import Progress, shown, step
from image.registry.client import NoAnswerError

T = TypeVar("T")


@contextmanager
def alone(cluster: Cluster, progress: Progress) -> Iterator[None]:
    """One of a clone's at a time for a cluster: what bakes, puts into the registry, takes from it or moves it.

    Nobody takes it twice: the second would wait for the first.
    """
    file = _file(cluster)
    try:
        file.parent.mkdir(exist_ok=True)
        opened = file.open("w")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}", "a clone of your own") from error
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(progress, "wait for another command of this clone"):
                fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def patient(cluster: Cluster, ask: Callable[[], T]) -> T:
    """What `ask` reads from the registry: once more, alone, where none answered while another command had its turn.

    That one may have restarted it. Who calls this does not hold `alone`.
    """
    try:
        return ask()
    except NoAnswerError:
        if not _taken(_file(cluster)):
            raise
        with shown(1) as told, alone(cluster, told):
            return ask()


def _file(cluster: Cluster) -> Path:
    return ROOT / ".build" / f"bake-{cluster.name}.lock"


def _taken(file: Path) -> bool:
    try:
        with file.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody ever had a turn
        return False
    return False
