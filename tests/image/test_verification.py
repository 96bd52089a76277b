"""What `verify` makes of what it has seen, on values."""

from __future__ import annotations

from pathlib import Path

import pytest

from image.cluster import Cluster, Endpoint
from image.errors import UserError
from image.verification import Result

CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), Path("/nowhere"))
AWAY = "the engine of pi2 (198.18.0.12) does not answer: No route to host"


def test_a_node_that_is_away_is_no_damage_and_nobody_is_told_to_remove_images() -> None:
    result = Result(("busybox:v1",), ("pi1", "pi2"), 1, (), (AWAY,))
    assert result.lines() == [AWAY, "registry: 1 images, 1 pulls on pi1, pi2: all whole, 1 not pulled"]
    with pytest.raises(UserError, match="all that the registry has is whole") as seen:
        result.check(CLUSTER)
    assert "rm --force" not in seen.value.message


def test_damage_is_told_with_the_way_out_also_where_a_node_is_away() -> None:
    with pytest.raises(UserError, match=r"1 damaged in the registry\n.*attic rm --force"):
        Result(("busybox:v1",), ("pi1",), 0, ("busybox:v1 linux/arm64: blob sha256:1 is damaged",), (AWAY,)).check(
            CLUSTER
        )


def test_all_whole_is_no_error() -> None:
    result = Result(("busybox:v1",), ("pi1",), 1, ())
    result.check(CLUSTER)
    assert result.lines() == ["registry: 1 images, 1 pulls on pi1: all whole"]
