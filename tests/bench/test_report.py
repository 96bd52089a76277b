from __future__ import annotations

import pytest

from bench.measure import Measurement
from bench.report import Results, Spread, in_turn, markdown, place, tables
from bench.ways import FLOOR, MITOGEN, OURS, PLAIN, Scenario

MARKS = ("<!-- results: written by bench/provision.py -->", "<!-- end of results -->")


def took(way: str, wall: float, scenario: Scenario = "nothing", nodes: int = 3) -> Measurement:
    return Measurement(scenario, nodes, way, wall, controller=1.0, on_nodes=(0.1, 0.2, 0.9))


def test_a_spread_is_the_middle_and_both_ends() -> None:
    assert Spread.of([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)
    assert str(Spread.of([1.0, 2.0])) == "1.50 (1.00–2.00)"


def test_ways_are_compared_by_their_medians() -> None:
    results = Results((took("floor", 1.0), took("floor", 9.0), took("floor", 2.0), took("this project", 4.0)))
    assert results.ratio("nothing", 3, OURS.name, FLOOR.name) == 2.0


def test_what_was_not_measured_has_no_ratio() -> None:
    results = Results((took("floor", 1.0),))
    assert results.ratio("nothing", 3, OURS.name, FLOOR.name) is None
    assert results.ratio("cold", 3, FLOOR.name, FLOOR.name) is None
    assert results.growth(FLOOR.name) is None


def test_a_join_goes_by_the_swarm_that_is_joined_and_counts_its_old_nodes() -> None:
    join = took("floor", 8.0, "join", nodes=3)
    assert Results((join,)).sizes("join") == [2]
    assert join.on_a_node == pytest.approx(0.15)
    assert took("floor", 8.0).on_a_node == pytest.approx(0.4)


def test_growth_goes_from_the_fewest_light_hosts_to_the_most() -> None:
    results = Results(tuple(took(OURS.name, wall, "light", nodes) for nodes, wall in ((30, 3.0), (3, 1.5))))
    assert results.growth(OURS.name) == 2.0


@pytest.mark.parametrize(("ours", "met"), [(2.9, "yes"), (3.1, "no")])
def test_a_goal_says_whether_it_is_met(ours: float, met: str) -> None:
    results = Results((took(OURS.name, ours), took(FLOOR.name, 1.0), took(MITOGEN.name, 20.0)))
    (row,) = [line for line in tables(results).splitlines() if "nothing to do, 3 hosts: × floor" in line]
    assert [cell.strip() for cell in row.split("|")][2:5] == ["≤ 3", f"{ours:.2f}", met]


def test_every_way_that_was_measured_has_a_row() -> None:
    text = tables(Results(tuple(took(way.name, 2.0, "cold") for way in (OURS, MITOGEN, PLAIN))))
    assert [row.split("|")[2].strip() for row in text.splitlines() if row.startswith("| 3 ")] == [
        "this project",
        "Ansible on Mitogen",
        "Ansible",
    ]


def test_a_table_is_as_wide_as_its_longest_cells() -> None:
    assert markdown(["a", "b"], [["long", ""]]) == "| a    | b |\n|------|---|\n| long |   |"


def test_results_replace_what_stood_between_the_markers() -> None:
    page = f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n"
    assert place(page, "new") == f"before\n{MARKS[0]}\n\nnew\n\n{MARKS[1]}\nafter\n"
    assert place(place(page, "first"), "new") == place(page, "new")


@pytest.mark.parametrize("page", ["", MARKS[0], MARKS[1], MARKS[1] + MARKS[0]])
def test_a_page_without_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="lacks the line"):
        place(page, "new")


def test_each_round_begins_with_another_way() -> None:
    ways = [OURS, MITOGEN, FLOOR]
    assert [in_turn(ways, turn)[0] for turn in range(4)] == [OURS, MITOGEN, FLOOR, OURS]
    assert all(len(set(in_turn(ways, turn))) == 3 for turn in range(4))
