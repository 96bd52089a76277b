"""How much Prometheus may keep and take on which node, on values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from image import settings
from image.cluster import Node
from image.platform import PLATFORMS, Platform
from image.stack import sizing

GB = 2**30
NODE = Node("n1", "pi1", "198.18.0.11", "manager", True, Platform("linux", "arm64"), memory=4 * GB)
ZERO = replace(NODE, name="zero", platform=Platform("linux", "arm", "v6"), memory=430 * 2**20)
UNSAID = settings.Prometheus("", "")


@pytest.mark.parametrize(
    ("node", "time", "size", "memory"),
    [
        (NODE, "15d", "4096MB", "1024M"),
        (replace(NODE, memory=8 * GB), "15d", "8192MB", "1024M"),
        (replace(NODE, memory=32 * GB), "15d", "8192MB", "1024M"),
        (replace(NODE, memory=900 * 2**20), "15d", "1024MB", "360M"),
        (replace(NODE, memory=430 * 2**20), "15d", "1024MB", "172M"),
        (replace(NODE, memory=0), "15d", "1024MB", "512M"),
        (ZERO, "3d", "512MB", "172M"),
        (replace(ZERO, platform=Platform("linux", "arm", "v7"), memory=8 * GB), "3d", "512MB", "512M"),
    ],
)
def test_it_keeps_and_takes_what_fits_its_node(node, time, size, memory):
    found = sizing.of(node, UNSAID)
    assert (found.retention_time, found.retention_size, found.memory) == (time, size, memory)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("megabytes", [256, 430, 900, 1800, 3800, 7800])
def test_go_stays_below_the_limit_and_the_limit_below_the_node(platform, megabytes):
    found = sizing.of(replace(NODE, platform=Platform.parse(platform), memory=megabytes * 2**20), UNSAID)
    limit, go = int(found.memory.removesuffix("M")), int(found.go_memory.removesuffix("MiB"))
    assert go < limit <= megabytes / 2
    assert go >= limit / 2


def test_the_owners_word_counts_before_the_nodes_size():
    found = sizing.of(ZERO, settings.Prometheus("30d", "5GB"))
    assert (found.retention_time, found.retention_size) == ("30d", "5GB")


def test_a_32_bit_node_for_prometheus_is_a_warning_that_names_the_64_bit_ones():
    away = replace(NODE, name="pi3", ready=False)
    first, second = sizing.doubts(ZERO, [ZERO, NODE, away])
    assert "zero, " in first
    assert "linux/arm/v6" in first
    assert "pi1" in second
    assert "pi3" not in second


def test_where_all_are_32_bit_no_other_is_proposed():
    assert len(list(sizing.doubts(ZERO, [ZERO, replace(ZERO, name="other")]))) == 1


@pytest.mark.parametrize("platform", ["linux/arm64", "linux/amd64"])
def test_a_64_bit_node_is_no_reason_for_a_warning(platform):
    node = replace(NODE, platform=Platform.parse(platform))
    assert list(sizing.doubts(node, [node, ZERO])) == []
