"""Platforms, as they are written and as machines report them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.builder import recipe
from image.errors import UserError
from image.platform import PLATFORMS, Platform, described, taken


@pytest.mark.parametrize("text", PLATFORMS)
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


@pytest.mark.parametrize("text", PLATFORMS)
def test_go_compiles_for_the_oldest_processor_of_each_platform(text: str) -> None:
    name, value = {
        "linux/arm/v6": ("GOARM", "6"),
        "linux/arm/v7": ("GOARM", "7"),
        "linux/arm64": ("GOARM64", "v8.0"),
        "linux/amd64": ("GOAMD64", "v1"),
    }[text]
    assert recipe.go_target(Platform.parse(text)) == {"GOOS": "linux", "GOARCH": text.split("/")[1], name: value}


def test_a_32_bit_userland_on_a_64_bit_kernel_runs_arm_v7() -> None:
    assert str(Platform.of_machine("armv8l")) == "linux/arm/v7"


def test_an_unknown_machine_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="machine 'riscv64'"):
        Platform.of_machine("riscv64")


@pytest.mark.parametrize(
    ("node", "offered", "found"),
    [
        ("linux/arm64", ["linux/amd64", "linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/amd64", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm64"], ""),
        ("linux/amd64", ["linux/arm64"], ""),
    ],
)
def test_an_engine_takes_its_own_platform_or_an_older_arm(node: str, offered: list[str], found: str) -> None:
    assert taken(Platform.parse(node), offered) == found


@pytest.mark.parametrize(
    ("words", "platform"),
    [
        (("linux", "arm", "v6"), "linux/arm/v6"),
        (("linux", "arm"), "linux/arm/v7"),
        (("linux", "arm64", "v8"), "linux/arm64"),
        (("windows", "amd64"), "windows/amd64"),
        (("unknown", "unknown"), ""),
        ((), ""),
    ],
)
def test_a_platform_has_one_name_however_an_index_says_it(words: tuple[str, ...], platform: str) -> None:
    assert described(dict(zip(("os", "architecture", "variant"), words, strict=False))) == platform
