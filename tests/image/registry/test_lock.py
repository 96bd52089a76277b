"""Whose turn it is, on files."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from image.cluster import Cluster, Endpoint
from image.registry import lock
from image.registry.client import NoAnswerError


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    return Cluster("attic", Endpoint("tcp://127.0.0.1:1"), (), tmp_path)


class Registry:
    """One that another command restarts: it answers when it is asked for the second time."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> str:
        self.asked += 1
        if self.asked == 1:
            raise NoAnswerError("Connection refused")
        return "answer"


@contextmanager
def another_command(folder: Path) -> Iterator[None]:
    """Has its turn until this one waits for it."""
    (folder / ".build").mkdir()
    with pytest.MonkeyPatch.context() as patch, (folder / ".build" / "bake-attic.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        flock = fcntl.flock

        def wait(opened: int, kind: int) -> None:
            if kind == fcntl.LOCK_EX:
                flock(file, fcntl.LOCK_UN)
            flock(opened, kind)

        patch.setattr(fcntl, "flock", wait)
        yield


def test_who_reads_while_another_command_restarts_the_registry_waits_for_that_one(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_command(tmp_path):
        assert lock.patient(cluster, Registry().ask) == "answer"
    assert "wait for another command of this clone" in capsys.readouterr().err


def test_a_registry_that_is_away_by_itself_is_told_at_once(cluster: Cluster, tmp_path: Path) -> None:
    registry = Registry()
    with pytest.raises(NoAnswerError):
        lock.patient(cluster, registry.ask)
    with another_command(tmp_path):
        pass
    registry.asked = 0
    with pytest.raises(NoAnswerError):
        lock.patient(cluster, registry.ask)
    assert registry.asked == 1
