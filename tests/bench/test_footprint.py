"""What nodes tell of their memory, and its tables, on values."""

from __future__ import annotations

import pytest

from bench.footprint import Resident, Results, Taken, middle, parse, tables
from image.errors import UserError

GONE = ""  # a process that ended meanwhile
TOLD = f"""\
shelf_web a1 RssAnon 100
shelf_web a1 RssFile 900
shelf_web a1 RssShmem 4
shelf_web a1 RssAnon 50
shelf_web a1 RssFile {GONE}
shelf_web a1 RssShmem 0
shelf_web b2 RssAnon 2000
shelf_web b2 RssFile 0
shelf_web b2 RssShmem 0
/pishelf-registry c3 RssAnon 10
/pishelf-registry c3 RssFile 20
/pishelf-registry c3 RssShmem 0
engine engine RssAnon 1
engine engine RssAnon 2
engine engine RssFile 3
"""


def test_processes_of_a_container_add_up_and_the_largest_container_of_a_service_counts() -> None:
    assert parse(TOLD) == {
        "web": Resident(2000 * 1024, 0),
        "registry": Resident(10 * 1024, 20 * 1024),
        "engine": Resident(3 * 1024, 3 * 1024),
    }
    one = parse("".join(line for line in TOLD.splitlines(keepends=True) if " a1 " in line))
    assert one == {"web": Resident(154 * 1024, 900 * 1024)}


def test_what_a_node_says_otherwise_is_an_error_with_its_words() -> None:
    with pytest.raises(UserError, match="Error response from daemon"):
        parse("Error response from daemon: no such container\n")


def test_a_health_check_that_one_look_sees_does_not_count() -> None:
    alone, checked = Resident(100, 1500), Resident(11_000, 3_000)
    assert middle([{"web": checked}, {"web": alone}, {"web": alone}]) == {"web": alone}


WORKER = {"node_exporter": Resident(20_000_000, 1_000_000), "web": Resident(500_000, 500_000)}


def test_the_table_tells_own_memory_from_files_and_names_what_was_not_measured() -> None:
    looks = [Taken("as built", 3, WORKER), Taken("unpacked", 3, {"web": Resident(0, 1_000_000)})]
    text = tables(Results(looks, {"web": 32_000_000}))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["node_exporter", "20.0 + 1.0", "–", "–"] in rows
    assert ["web", "0.5 + 0.5", "0.0 + 1.0", "32"] in rows
    assert "Goals" not in text, "a sum of what is not all there says nothing"


def test_a_goal_compares_the_sum_of_both_kinds() -> None:
    gateway = {"gateway": Resident(50_000_000, 9_000_000)}
    assert "| 81.00    | no" in tables(Results([Taken("as built", 20, {**WORKER, **gateway})], {}))
    gateway = {"gateway": Resident(50_000_000, 7_000_000)}
    assert "| 79.00    | yes" in tables(Results([Taken("as built", 20, {**WORKER, **gateway})], {}))
