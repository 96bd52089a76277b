"""What is left out, what is told to BuildKit, what is shown: on values."""

from __future__ import annotations

from pathlib import Path

import pytest

from image import bake, build
from image.bake import Contents, Layout
from image.build import Status
from image.pack import Program, Sizes
from image.plan import ROOT, Description, Image, Plan, Starts
from image.platform import Platform
from image.published import Published

ARM64, ARMV7, AMD64 = map(Platform.parse, ("linux/arm64", "linux/arm/v7", "linux/amd64"))


def image(name: str = "hello", packing: bool = True) -> Image:
    about = Description(name, name, "Says hello", "https://example.org", "Apache-2.0", Starts((), ""), pack=packing)
    return Image(Path(__file__).parent, about, "1.2.3", "v1.2.3")


def there(platforms: set[Platform], packed: bool = True) -> Published:
    return Published("hello", "pi:5000/hello@sha256:0", "v1.2.3-0", frozenset(platforms), packed)


@pytest.mark.parametrize(
    ("found", "plan", "expected"),
    [
        (there({ARM64, AMD64}), Plan((image(),), (ARM64,)), True),
        (there({AMD64}), Plan((image(),), (ARM64,)), False),
        (None, Plan((image(),), (ARM64,)), False),
        (there({ARM64}), Plan((image(),), (ARM64,), pack=False), False),
        (there({ARM64}, packed=False), Plan((image(),), (ARM64,), pack=False), True),
        (there({ARM64}, packed=False), Plan((image(),), (ARM64,)), False),
        (there({ARM64}, packed=False), Plan((image(packing=False),), (ARM64,)), True),
    ],
)
def test_an_image_is_there_with_all_wanted_platforms_and_packed_as_wanted(
    found: Published | None, plan: Plan, expected: bool
) -> None:
    assert build.is_there(found, plan.images[0], plan) == expected


def test_building_for_one_platform_more_takes_none_away() -> None:
    plan = Plan((image(),), (ARM64,))
    assert build.platforms(image(), plan, {"hello": there({ARMV7})}) == (ARMV7, ARM64)


def test_with_the_registry_to_be_started_there_is_something_to_do() -> None:
    assert not Status({}, (), image("registry")).nothing_to_do
    assert not Status({}, (image(),)).nothing_to_do
    assert Status({}, ()).nothing_to_do


def test_buildkit_is_told_all_that_it_needs() -> None:
    programs = {ARMV7: Program(Path("a"), Sizes(9, 3)), ARM64: Program(Path("b"), Sizes(9))}
    layout = Layout(Path("/layout"), "0123")
    told = bake.definition([(Contents(image(), programs, pack=True), layout)], "pi:5000", push=True)
    target = told["target"]
    assert isinstance(target, dict)
    hello = target["hello"]
    assert hello["platforms"] == ["linux/arm/v7", "linux/arm64"]
    assert hello["tags"] == ["pi:5000/hello:incoming"], "its own tag is for what was looked at"
    assert hello["output"] == ["type=image,oci-mediatypes=true,push=true"]
    assert hello["labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert hello["labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert hello["contexts"]["programs"] == "/layout/programs-0123"
    assert "index,manifest:org.opencontainers.image.revision=v1.2.3" in hello["annotations"]


@pytest.mark.parametrize("file", sorted(ROOT.glob("*/Dockerfile")), ids=lambda file: file.parent.name)
def test_every_image_is_made_from_scratch(file: Path) -> None:
    words = [line.split() for line in file.read_text().splitlines()]
    assert [line[1] for line in words if line[:1] == ["FROM"]] == ["scratch"]
    assert not [line for line in words if line[:1] == ["RUN"]], "nothing of a foreign machine runs"


@pytest.mark.parametrize("file", sorted(ROOT.glob("*/Dockerfile")), ids=lambda file: file.parent.name)
def test_every_image_is_copied_to_its_root_as_it_was_laid_out(file: Path) -> None:
    """A folder that BuildKit has to make gets today's time, and the image another digest each day."""
    words = [line.split() for line in file.read_text().splitlines()]
    assert {line[-1] for line in words if line[:1] in (["COPY"], ["ADD"])} == {"/"}
