"""The ways to build that are compared, and what their tables say: on values."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench import kitchen, made, sizes
from bench.made import Made, Results
from bench.makers import BAKE, FLOOR, KO, MAKERS, OURS, PLATFORMS, SIDE_BY_SIDE, Place
from bench.sizes import UPSTREAM, Row, Size, upstream_build
from image import plan
from image.builder import recipe
from image.cluster import Cluster, Endpoint, Node
from image.platform import Platform

AMD64 = Platform.parse("linux/amd64")
PI1 = Node("1", "pi1", "198.18.0.11", "manager", True, AMD64, {"registry": "198.18.0.11:5000"})
CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376", Path("/certs")), (PI1,), Path("/login"))
(IMAGE,) = plan.read(("node_exporter",))
PLACE = Place(IMAGE, CLUSTER, Path("/bench"), Path("/ko"))


def took(way: str, wall: float, scenario: str = "cold") -> Made:
    return Made(scenario, way, wall, 1.0, 0.5)  # type: ignore[arg-type]


def test_the_floor_compiles_with_the_flags_of_this_project() -> None:
    commands = [command for step in FLOOR.steps(PLACE) for command in step]
    for command, platform in zip(commands, PLATFORMS, strict=True):
        words = recipe.go_build(PLACE.go, IMAGE.version)
        assert command.argv == (*words, "-o", f"/bench/programs/{platform}/bin/node_exporter", ".")
        assert command.env.items() >= {**recipe.go_environment(platform), "GOCACHE": "/bench/go-build"}.items()
        assert command.cwd == IMAGE.folder


def test_side_by_side_is_the_same_at_once() -> None:
    (at_once,) = SIDE_BY_SIDE.steps(PLACE)
    assert at_once == tuple(command for step in FLOOR.steps(PLACE) for command in step)


def test_ko_compiles_with_the_flags_of_this_project() -> None:
    ((path, text),) = KO.files(PLACE).items()
    (about,) = json.loads(text)["builds"]
    assert ("go", "build", *about["flags"], "-ldflags", *about["ldflags"]) == recipe.go_build(PLACE.go, IMAGE.version)
    ((command,),) = KO.steps(PLACE)
    assert command.env["KO_CONFIG_PATH"] == str(path)
    assert command.argv[0] == "/ko"
    assert "--platform=linux/arm/v7,linux/arm64,linux/amd64" in command.argv


def test_a_bake_compiles_first_and_takes_what_was_compiled() -> None:
    *compilers, (bake,) = BAKE.steps(PLACE)
    assert tuple(compilers) == FLOOR.steps(PLACE)
    target = json.loads(BAKE.files(PLACE)[Path("/bench/bake.json")])["target"]["default"]
    assert target["contexts"] == {"programs": "/bench/programs"}
    assert target["tags"] == ["198.18.0.11:5000/baked:latest"]
    assert bake.env["DOCKER_HOST"] == "tcp://198.18.0.11:2376"


def test_this_project_does_what_a_person_types_with_caches_of_its_own() -> None:
    ((command,),) = OURS.steps(PLACE)
    assert command.argv[1:6] == ("-m", "image", "--context", "attic", "build-all")
    assert "--no-upx" in command.argv
    assert command.env.items() >= {"GOCACHE": "/bench/go-build", "XDG_CACHE_HOME": "/bench/cache"}.items()


def test_no_two_ways_share_a_name_or_a_repository() -> None:
    pushed = [maker.pushes for maker in MAKERS.values() if maker.pushes]
    assert len({maker.name for maker in MAKERS.values()}) == len(MAKERS)
    assert len(set(pushed)) == len(pushed)


def test_ko_is_pinned() -> None:
    assert kitchen.ko_version().startswith("v")


def test_every_way_that_was_measured_has_a_row_and_packing_stands_apart() -> None:
    text = made.tables(Results([took(FLOOR.name, 100), took(OURS.name, 105), took(made.PACKING, 40, "packed")]))
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in text.splitlines() if row.startswith("|")]
    assert rows[2:5] == [
        ["go build", "100.00", "1.00"],
        ["this project", "105.00", "1.05"],
        ["packing, after it", "40.00", ""],
    ]


@pytest.mark.parametrize(("ours", "met"), [(109.0, "yes"), (111.0, "no")])
def test_the_cold_goal_goes_by_the_floor(ours: float, met: str) -> None:
    text = made.tables(Results([took(FLOOR.name, 100), took(OURS.name, ours)]))
    (row,) = [line for line in text.splitlines() if "cold: × go build" in line]
    assert row.split("|")[4].strip() == met


def test_what_was_not_measured_has_no_table_and_no_goal() -> None:
    assert made.tables(Results([])) == ""
    assert "Goals" not in made.tables(Results([took(KO.name, 1.0)]))


def test_a_wire_carries_less_than_the_card_holds(tmp_path: Path) -> None:
    (tmp_path / "even").write_bytes(bytes(1_000_000))
    (tmp_path / "random").write_bytes(os.urandom(1_000_000))
    even, random = Size.of(tmp_path / "even"), Size.of(tmp_path / "random")
    assert even.disk == random.disk == 1_000_000
    assert even.wire < 5_000 < 1_000_000 < random.wire < 1_010_000


def test_a_programs_row_compares_what_is_in_the_image() -> None:
    row = Row(
        "hello",
        "linux/arm64",
        Size(20_000_000, 8_000_000),
        Size(16_000_000, 6_000_000),
        Size(4_000_000, 4_000_000),
        True,
    )
    assert "| packed" in sizes.table([row])
    assert "0.20 / 0.50" in sizes.table([row])
    assert "0.80 / 0.75" in sizes.table([replace(row, packs=False)])
    assert "| –" in sizes.table([replace(row, upstream=None)])


def test_upstreams_programs_keep_what_upstream_keeps() -> None:
    words = upstream_build(PLACE.go, UPSTREAM["node_exporter"], IMAGE.version)
    assert "-s" not in words[-1].split()
    assert f"version.Version={IMAGE.version}" in words[-1]
    assert set(UPSTREAM) == {image.name for image in plan.read() if image.about.go and not image.about.go.own}
