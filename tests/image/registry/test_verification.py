"""What `verify` makes of what it has seen, on values."""

from __future__ import annotations

from pathlib import Path

import pytest

from image.cluster import Cluster, Endpoint, Node
from image.errors import UserError
from image.platform import Platform
from image.registry.links import Links, Tag
from image.registry.manifest import INDEX, Descriptor, Manifest
from image.registry.referrers import fallback_tag
from image.registry.stock import Stock
from image.registry.verification import Result, for_node, told

CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), Path("/nowhere"))
AWAY = "the engine of pi2 (198.18.0.12) does not answer: No route to host"


def test_a_node_that_is_away_is_no_damage_and_nobody_is_told_to_remove_images() -> None:
    result = Result(("busybox:v1",), ("pi1", "pi2"), 1, (), (AWAY,))
    assert result.lines() == [AWAY, "registry: 1 images, 1 pulls on pi1, pi2: all whole, 1 not pulled"]
    with pytest.raises(UserError, match="all that the registry has is whole") as seen:
        result.check(CLUSTER)
    assert "rm --force" not in seen.value.message


def test_damage_is_told_once_with_the_tags_that_bear_it() -> None:
    index = f"sha256:{'a' * 64}"
    beside = fallback_tag(index)
    tags = {"hello": {"v1": Tag(index, 1), "again": Tag(index, 1), beside: Tag("sha256:b", 1)}}
    part, itself, document = (
        "hello@sha256:1: its layer is missing",
        "hello:v2: is missing",
        "hello@sha256:2: is missing",
    )
    looked = [
        (("hello", "v1"), [part]),
        (("hello", "again"), [part]),
        (("hello", "v2"), [itself]),
        (("hello", beside), [document]),
        (("hello", "sha256:c"), ["hello@sha256:c: is missing"]),
    ]
    assert told(Stock(Links(tags), {}), looked) == (
        f"{part}; in hello:v1 and hello:again",
        itself,
        f"{document}; in hello:v1 and hello:again",
        "hello@sha256:c: is missing",
    )


def test_a_node_pulls_what_its_engine_takes_also_32_bit_programs_where_there_is_nothing_else() -> None:
    offered = {"both": ("linux/arm64", "linux/arm/v7"), "old": ("linux/arm/v6",), "other": ("linux/amd64",)}
    manifests = {
        f"sha256:{name}": Manifest(
            f"sha256:{name}", 9, INDEX, tuple(Descriptor(f"sha256:{one}", 9, platform=one) for one in platforms)
        )
        for name, platforms in offered.items()
    }
    tags = {name: {tag: Tag(f"sha256:{name}", 1) for tag in ("v1", "again")} for name in offered}
    links = Links(tags, {name: {f"sha256:{name}": 1} for name in offered})
    node = Node("n1", "pi1", "198.18.0.11", "manager", True, Platform("linux", "arm64"))
    pulled = for_node(Stock(links, manifests), node)
    assert [(item.name, platform) for item, platform in pulled.items()] == [
        ("both", "linux/arm64"),
        ("old", "linux/arm/v6"),
    ]


def test_damage_is_told_with_the_way_out_also_where_a_node_is_away() -> None:
    with pytest.raises(UserError, match=r"1 damaged in the registry\n.*attic rm --force"):
        Result(("busybox:v1",), ("pi1",), 0, ("busybox:v1 linux/arm64: blob sha256:1 is damaged",), (AWAY,)).check(
            CLUSTER
        )


def test_all_whole_is_no_error() -> None:
    result = Result(("busybox:v1",), ("pi1",), 1, ())
    result.check(CLUSTER)
    assert result.lines() == ["registry: 1 images, 1 pulls on pi1: all whole"]
