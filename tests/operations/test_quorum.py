"""Who may stop or go without the swarm losing its power to decide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.swarm import SwarmNode
from operations.quorum import Quorum, objection_to_remove, objection_to_stop


def nodes(managers: str, workers: int = 0) -> list[SwarmNode]:
    """`+` is a reachable manager, `-` one that is not; the first one is node `0`."""
    found = [
        SwarmNode(str(number), f"pi{number}", "", "manager", "ready", reachable=sign == "+")
        for number, sign in enumerate(managers)
    ]
    return found + [SwarmNode(f"w{number}", f"w{number}", "", "worker", "ready") for number in range(workers)]


@pytest.mark.parametrize(
    ("managers", "tolerates"), [("+", 0), ("++", 0), ("+++", 1), ("++-", 0), ("+++++", 2), ("+++--", 0), ("+--", 0)]
)
def test_a_swarm_tolerates_the_loss_of_less_than_half_of_its_managers(managers: str, tolerates: int) -> None:
    assert Quorum.of(nodes(managers, workers=3)).tolerates == tolerates


@pytest.mark.parametrize("managers", ["+", "++", "+++", "++++", "++++-"])
def test_a_manager_may_stop_for_a_moment_while_the_others_decide_or_nothing_else_is_possible(managers: str) -> None:
    assert objection_to_stop(nodes(managers), "0") == ""


@pytest.mark.parametrize("managers", ["+-", "++-", "+++--", "+--"])
def test_a_manager_must_not_stop_where_the_others_could_no_longer_decide(managers: str) -> None:
    assert "needed" in objection_to_stop(nodes(managers), "0")


@pytest.mark.parametrize("managers", ["++", "+++", "+++-", "++++"])
def test_a_manager_may_go_while_the_others_decide(managers: str) -> None:
    assert objection_to_remove(nodes(managers), "0") == ""


def test_an_unreachable_manager_may_go_and_that_makes_the_quorum_better() -> None:
    assert objection_to_remove(nodes("-++"), "0") == ""
    assert Quorum(3, 2).removed(reachable=False).tolerates == 0


@pytest.mark.parametrize(
    ("managers", "word"), [("+", "only manager"), ("++-", "1 of 2"), ("+-+", "1 of 2"), ("+--", "cannot decide")]
)
def test_a_manager_must_not_go_where_the_others_could_no_longer_decide(managers: str, word: str) -> None:
    assert word in objection_to_remove(nodes(managers), "0")


def test_workers_may_always_go() -> None:
    assert objection_to_stop(nodes("+--", workers=1), "w0") == ""
    assert objection_to_remove(nodes("+--", workers=1), "w0") == ""


@given(st.text("+-", min_size=1, max_size=9))
def test_whoever_may_go_leaves_a_swarm_that_decides(managers: str) -> None:
    listed = nodes(managers)
    for node in listed:
        if not objection_to_remove(listed, node.id):
            assert Quorum.of(other for other in listed if other is not node).holds
