"""What a swarm remembers of rollouts, on values."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.errors import UserError
from image.stack import history
from image.stack.history import Revision, State
from image.stack.rollout import Rollout

DIGEST = "sha256:" + "1" * 64
COMPOSE = f"""\
services:
  web:
    image: pi1:5000/busybox@{DIGEST}
  other:
    image: docker.io/library/other:1
configs:
  rules: {{name: shelf_rules_0123456789ab, file: configs/rules.yml}}
  plain: {{file: configs/plain.yml}}
"""
ROLLOUT = Rollout(
    COMPOSE, {"configs/rules.yml": b"one", "configs/plain.yml": b"\xff"}, {f"pi1:5000/busybox@{DIGEST}": "v1"}
)


def revision(number: int, state: State = "good", compose: str = COMPOSE) -> Revision:
    rollout = replace(ROLLOUT, compose=compose)
    return Revision(number, state, "2026-01-02T03:04:05+00:00", "ann@desk", "abc1234", "", rollout)


def attrs(one: Revision) -> dict[str, object]:
    """As the Engine API gives a config object."""
    data = base64.b64encode(one.pack()).decode()
    return {"ID": "c1", "Spec": {"Name": one.name, "Labels": one.labels, "Data": data}}


def of_time(time: str) -> bytes:
    return replace(revision(1), time=time).pack()


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=5), st.binary(max_size=50), max_size=3))
def test_a_revision_is_read_back_as_it_was_written(compose, files):
    one = replace(revision(7, "failed"), rollout=Rollout(compose, files))
    assert Revision.of(attrs(one)) == one


def test_a_small_revision_can_be_read_by_a_person():
    assert json.loads(revision(1).pack())["compose"] == COMPOSE


def test_a_large_one_is_compressed():
    one = replace(revision(1), rollout=Rollout(COMPOSE, {"big": b"x" * 100_000}))
    assert len(one.pack()) < 10_000
    assert Revision.of(attrs(one)) == one


def test_what_no_swarm_takes_is_refused_with_the_largest_files_name():
    noise = random.Random(1).randbytes(600_000)  # noqa: S311 - noise, not a key
    with pytest.raises(UserError, match="500000 at most") as seen:
        replace(revision(1), rollout=Rollout(COMPOSE, {"small": b"", "noise.bin": noise})).pack()
    assert "noise.bin" in seen.value.message


@pytest.mark.parametrize(
    "broken",
    [
        {"Data": base64.b64encode(b"no JSON").decode()},
        {"Data": base64.b64encode(b"\x1f\x8bno gzip").decode()},
        {"Data": base64.b64encode(gzip.compress(b"{}" * 99)[:20] + b"\xff" * 20).decode()},
        {"Data": base64.b64encode(b"{}").decode()},
        {"Data": base64.b64encode(of_time("yesterday")).decode()},
        {"Labels": {"pishelf.revision": "x", "pishelf.state": "good"}},
        {"Labels": {"pishelf.revision": "1", "pishelf.state": "splendid"}},
    ],
)
def test_what_is_no_revision_is_named_and_in_nobodys_way(broken):
    entry = attrs(revision(3))
    entry["Spec"] = {**entry["Spec"], **broken}  # type: ignore[dict-item]
    read = Revision.of(entry)
    assert (read.number, read.state, read.good) == (3, "unreadable", False)
    past = [revision(1), revision(2, compose="services: {}"), read]
    assert history.begun(past, ROLLOUT, "").number == 4
    assert history.before(past) == past[1]
    with pytest.raises(UserError, match=r"shelf-revision-3 .* is no revision"):
        history.wanted(past, 3)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: gzip.compress(b"x" * 99)[:12] + rest))
def test_any_data_is_a_revision_or_unreadable(data):
    entry = attrs(revision(3))
    entry["Spec"] = {**entry["Spec"], "Data": base64.b64encode(data).decode()}  # type: ignore[dict-item]
    assert not Revision.of(entry).readable


def test_nothing_is_freed_while_it_is_not_known_what_a_revision_needs():
    with pytest.raises(UserError, match="no gzip") as seen:
        history.digests([revision(1), replace(revision(2, "unreadable"), note="no gzip")])
    assert "docker config rm shelf-revision-2" in seen.value.message


@pytest.mark.parametrize(
    ("state", "age", "found"),
    [("unfinished", 5, True), ("unfinished", -5, True), ("unfinished", 301, False), ("failed", 5, False)],
)
def test_a_rollout_that_another_may_still_watch_is_known(state, age, found):
    now = datetime.fromisoformat(revision(2).time) + timedelta(seconds=age)
    past = [revision(1, "unfinished"), revision(2, state)]
    assert history.under_way(past, now, 300) == (past[1] if found else None)
    assert history.under_way([], now, 300) is None


def config(name: str) -> dict[str, object]:
    return {"ID": f"id of {name}", "Spec": {"Name": name}}


def test_configs_that_nothing_needs_go_and_none_that_a_kept_revision_or_a_service_has():
    names = ["shelf_rules_0123456789ab", "shelf_used_0123456789ab", "shelf_old_0123456789ab", "shelf_a_persons"]
    service = {"Spec": {"TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigName": names[1]}]}}}}
    past = [replace(revision(1, compose="services: {}"), id="r1"), revision(2)]
    gone = history.unneeded(map(config, names), past, [service], 1)
    assert gone == {"r1": "shelf-revision-1", "id of shelf_old_0123456789ab": "shelf_old_0123456789ab"}


def test_the_digests_of_revisions_are_what_a_registry_must_keep():
    assert history.digests([revision(1), revision(2)]) == {DIGEST}


def test_the_newest_good_revisions_are_kept_whatever_failed_since():
    states: list[State] = ["good", "good", "failed", "good", "failed", "unfinished", "failed"]
    revisions = [revision(number, state) for number, state in enumerate(states, 1)]
    assert [one.number for one in history.kept(reversed(revisions), 2)] == [2, 4, 6, 7]


@pytest.mark.parametrize(
    ("past", "number"),
    [
        ([], None),
        ([(1, "good", "a")], None),
        ([(1, "good", "a"), (2, "good", "b")], 1),
        ([(1, "good", "a"), (2, "failed", "b")], 1),
        ([(1, "good", "a"), (2, "good", "b"), (3, "unfinished", "c")], 2),
        ([(1, "good", "a"), (2, "failed", "b"), (3, "good", "c")], 1),
        # what ran twice in a row is not gone back to from itself
        ([(1, "good", "a"), (2, "good", "b"), (3, "failed", "b"), (4, "good", "b")], 1),
        # a rollback is a revision like others: a second one goes forth again
        ([(1, "good", "a"), (2, "good", "b"), (3, "good", "a")], 2),
    ],
)
def test_a_rollback_without_a_number_goes_to_the_good_one_before(past, number):
    found = history.before([revision(at, state, f"services: {{{name}: {{}}}}") for at, state, name in past])
    assert (found.number if found else None) == number


def test_the_same_stack_from_a_registry_that_moved_since_is_nothing_to_go_back_to():
    past = [revision(1, compose="services: {web: {image: x}}"), revision(2)]
    moved = replace(revision(3), rollout=ROLLOUT.moved({f"pi1:5000/busybox@{DIGEST}": f"pi2:5000/busybox@{DIGEST}"}))
    assert moved.rollout != past[1].rollout
    found = history.before([*past, moved])
    assert found
    assert found.number == 1


def test_who_has_no_name_on_this_machine_is_known_by_a_number(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    assert history.begun((), ROLLOUT, "").by.startswith("4000000001@")
