"""How our configuration and a person's become one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from operations.engine import merged

JSON = st.dictionaries(
    st.sampled_from("abc"), st.one_of(st.integers(0, 2), st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)))
)


def test_what_a_person_added_stays_also_within_our_own_keys() -> None:
    old = {"debug": True, "features": {"buildkit": True, "ours": False}, "hosts": ["fd://"]}
    assert merged(old, {"features": {"ours": True}, "hosts": ["tcp://"]}, {}) == {
        "debug": True,
        "features": {"buildkit": True, "ours": True},
        "hosts": ["tcp://"],
    }


def test_what_we_no_longer_want_goes_unless_a_person_changed_it() -> None:
    assert merged({"icc": False, "mtu": 1400}, {}, {"icc": False, "mtu": 1500}) == {"mtu": 1400}


@given(JSON, JSON, JSON)
def test_merging_twice_changes_nothing_more(old: dict[str, Any], new: dict[str, Any], without: dict[str, Any]) -> None:
    without = {key: value for key, value in without.items() if key not in new}
    once = merged(old, new, without)
    assert merged(once, new, without) == once


@given(JSON, JSON)
def test_every_key_of_a_person_is_there_afterwards(old: dict[str, Any], new: dict[str, Any]) -> None:
    after = merged(old, new, {})
    assert after.keys() == old.keys() | new.keys()
    assert {key: after[key] for key in old.keys() - new.keys()} == {key: old[key] for key in old.keys() - new.keys()}
