"""How long it may take yet, on values; and what is remembered."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import durations
from image.durations import TimeLeft, seconds_left

SECONDS = st.floats(0, 10_000)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("waiting", "working", "at_once", "seconds"),
    [
        ([], [], 2, 0),
        ([100], [], 2, 100),
        ([100, 100], [], 2, 100),
        ([100, 100], [], 1, 200),
        ([], [(30, 100)], 2, 70),
        ([40], [(30, 100), (90, 100)], 2, 70),
        ([], [(130, 100)], 2, 0),
    ],
)
def test_what_is_left_is_the_longest_piece_or_all_shared_out(
    waiting: list[float], working: list[tuple[float, float]], at_once: int, seconds: float
) -> None:
    assert seconds_left(waiting, working, at_once) == seconds


@given(st.lists(SECONDS), st.lists(st.tuples(SECONDS, SECONDS)), st.integers(1, 9))
def test_more_at_once_never_takes_longer(
    waiting: list[float], working: list[tuple[float, float]], at_once: int
) -> None:
    assert 0 <= seconds_left(waiting, working, at_once + 1) <= seconds_left(waiting, working, at_once)


def test_a_duration_is_remembered_and_serves_for_another_platform() -> None:
    assert durations.last("prometheus linux/arm64") is None
    durations.remember("prometheus linux/arm64", 100)
    durations.remember("prometheus linux/arm/v7", 200)
    durations.remember("prometheus web interface", 999)
    assert durations.last("prometheus linux/arm64") == 100
    assert durations.last("prometheus linux/amd64") == 150
    assert durations.last("registry linux/arm64") is None


def test_what_was_found_in_the_cache_says_nothing_of_the_work() -> None:
    durations.remember("registry linux/arm64", 100)
    durations.remember("registry linux/arm64", 0.2)
    assert durations.last("registry linux/arm64") == 100


def test_a_damaged_note_is_none(tmp_path: Path) -> None:
    durations.remember("registry linux/arm64", 100)
    (note,) = (tmp_path / "pishelf" / "durations").iterdir()
    note.write_text("soon")
    assert durations.last("registry linux/arm64") is None


def test_the_time_left_is_said_and_what_was_never_done_comes_on_top() -> None:
    durations.remember("a linux/arm64", 600)
    assert str(TimeLeft(["a linux/arm64", "a linux/amd64"], 2)) == "about 10 min left"
    left = TimeLeft(["a linux/arm64", "b web interface"], 1)
    left.begin("a linux/arm64")
    assert str(left) == "more than 10 min left"
    left.end("a linux/arm64")
    assert str(left) == ""


def test_the_first_of_a_kind_tells_how_long_the_others_take() -> None:
    left = TimeLeft(["a linux/arm64", "a linux/amd64"], 1)
    left.begin("a linux/arm64")
    assert str(left) == ""
    left.end("a linux/arm64")
    durations.remember("a linux/arm64", 120)
    left.begin("a linux/amd64")
    assert str(left) == "about 2 min left"


def test_what_ends_while_others_begin_stays_ended() -> None:
    """In many threads, as often as it takes to meet."""
    names = [f"{number} web interface" for number in range(400)]
    left = TimeLeft(names, 8)

    def work(name: str) -> None:
        left.begin(name)
        left.end(name)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, names))
    finally:
        sys.setswitchinterval(interval)
    durations.remember("0 web interface", 100)
    left.begin("another")
    assert str(left) == "", "what has ended is still expected"
