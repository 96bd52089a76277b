"""One command of a clone at a time changes the registry of a cluster."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from image.cluster import Cluster
from image.errors import UserError
from image.plan import ROOT
from image.progress import Progress, step


@contextmanager
def alone(cluster: Cluster, progress: Progress) -> Iterator[None]:
    """One of a clone's at a time for a cluster: what bakes, puts into the registry, takes from it or moves it.

    Nobody takes it twice: the second would wait for the first.
    """
    file = ROOT / ".build" / f"bake-{cluster.name}.lock"
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
