"""What a swarm remembers of rollouts, on values."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import history
from image.errors import UserError
from image.history import Revision, State
from image.rollout import Rollout

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


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=5), st.binary(max_size=50), max_size=3))
def test_a_revision_is_read_back_as_it_was_written(compose, files):
    one = replace(revision(7, "failed"), rollout=Rollout(compose, files))
    back = Revision.of(attrs(one))
    assert (back, back.rollout.content) == (one, one.rollout.content)


def test_a_small_revision_can_be_read_by_a_person():
    assert json.loads(revision(1).pack())["compose"] == COMPOSE


def test_a_large_one_is_compressed():
    one = replace(revision(1), rollout=Rollout(COMPOSE, {"big": b"x" * 600_000}))
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
        {"Data": base64.b64encode(b"{}").decode()},
        {"Labels": {"pishelf.revision": "x", "pishelf.state": "good"}},
        {"Labels": {"pishelf.revision": "1", "pishelf.state": "splendid"}},
    ],
)
def test_what_is_no_revision_is_named(broken):
    entry = attrs(revision(1))
    entry["Spec"] = {**entry["Spec"], **broken}  # type: ignore[dict-item]
    with pytest.raises(UserError, match=r"shelf-revision-1 .* is no revision"):
        Revision.of(entry)


def test_the_same_stack_in_another_clone_has_the_same_content():
    assert ROLLOUT.content == replace(ROLLOUT, tags={}).content
    assert ROLLOUT.content != replace(ROLLOUT, files={**ROLLOUT.files, "configs/rules.yml": b"two"}).content


def test_the_names_of_a_rollouts_configs_are_the_swarms():
    assert ROLLOUT.objects("configs") == {"shelf_rules_0123456789ab", "shelf_plain"}
    assert ROLLOUT.objects("secrets") == frozenset()


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
    found = history.before([revision(at, state, compose) for at, state, compose in past])
    assert (found.number if found else None) == number


def test_a_rollout_has_its_images_from_where_the_registry_is_now_if_they_are_there():
    asked = []

    def has(reference: str) -> bool:
        asked.append(reference)
        return True

    moved = ROLLOUT.at("pi2:5000", has)
    here = f"pi2:5000/busybox@{DIGEST}"
    assert moved.images == {"web": here, "other": "docker.io/library/other:1"}
    assert (asked, moved.tags, moved.files) == ([here], {here: "v1"}, ROLLOUT.files)
    assert ROLLOUT.at("pi2:5000", lambda _: False) == ROLLOUT
