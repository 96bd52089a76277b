"""Platforms, as they are written and as machines report them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.errors import UserError
from image.platform import Platform

ALL = ["linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/amd64"]


@pytest.mark.parametrize("text", ALL)
def test_a_platform_reads_as_it_is_written(text: str) -> None:
    assert str(Platform.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "linux", "linux/armv7", "linux/arm", "linux/arm64/v8", "windows/amd64", "linux/arm/v7/x", "linux/amd64/"],
)
def test_a_platform_we_do_not_build_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match=f"platform '{text}' is not one we build"):
        Platform.parse(text)


@given(st.text())
def test_any_text_is_a_platform_or_refused_in_words(text: str) -> None:
    told = ""
    try:
        told = str(Platform.parse(text))
    except UserError as error:
        told = error.message
    assert told == text or "linux/arm/v6" in told


def test_the_variant_becomes_goarm() -> None:
    assert Platform.parse("linux/arm/v6").go_env == {"GOOS": "linux", "GOARCH": "arm", "GOARM": "6"}
    assert Platform.parse("linux/arm64").go_env == {"GOOS": "linux", "GOARCH": "arm64"}


def test_a_32_bit_userland_on_a_64_bit_kernel_runs_arm_v7() -> None:
    assert str(Platform.of_machine("armv8l")) == "linux/arm/v7"


def test_an_unknown_machine_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="machine 'riscv64'"):
        Platform.of_machine("riscv64")
