"""What is left out, what is told to BuildKit, what is shown: on values."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from image import plan
from image.builder import bake, pipeline, push
from image.builder.bake import Contents, Layout
from image.builder.pack import Program, Sizes
from image.builder.pipeline import Status
from image.builder.published import Published
from image.cluster import Cluster, Endpoint
from image.durations import TimeLeft
from image.errors import UserError, raise_all
from image.plan import ROOT, Description, Image, Plan, Starts
from image.platform import Platform
from image.progress import Lines
from image.registry import lock
from tests.image.builder.test_matrix import SHOWS

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
    assert pipeline.is_there(found, plan.images[0], plan) == expected


def test_building_for_one_platform_more_takes_none_away() -> None:
    plan = Plan((image(),), (ARM64,))
    assert pipeline.platforms(image(), plan, {"hello": there({ARMV7})}) == (ARMV7, ARM64)


def test_with_the_registry_to_be_started_there_is_something_to_do() -> None:
    assert not Status({}, (), image("registry")).nothing_to_do
    assert not Status({}, (image(),)).nothing_to_do
    assert Status({}, ()).nothing_to_do


@pytest.mark.parametrize("runs_by_now", [True, False])
def test_a_registry_that_another_command_started_meanwhile_is_not_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs_by_now: bool
) -> None:
    found = iter((Status({}, (), image("registry")), Status({}, ())))
    started: list[str] = []
    monkeypatch.setattr(pipeline, "status", lambda *_: next(found))
    monkeypatch.setattr(pipeline.cache, "sweep", lambda: None)
    monkeypatch.setattr(pipeline.container, "runs", lambda *_: runs_by_now)
    monkeypatch.setattr(pipeline, "start_registry", lambda *words: started.append(words[2].name))
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    cluster = Cluster("attic", Endpoint("tcp://127.0.0.1:1"), (), tmp_path)
    assert not pipeline.build_all(cluster, Plan((image("registry"),), (ARM64,)), 1).nothing_to_do
    assert started == ([] if runs_by_now else ["registry"])


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


def test_every_image_is_in_the_matrix() -> None:
    """Which is run seldom, so nobody else would notice."""
    assert set(SHOWS) == {image.name for image in plan.read()}


def test_no_archive_is_unpacked_by_what_debian_12s_python_has_not() -> None:
    """Filters came with 3.11.4, and its Python is 3.11.2; ours here, and mypy's, may know better."""
    calls = re.compile(r"(?:unpack_archive|extract|extractall)\([^)]*\bfilter=")
    files = [file for folder in ("deploys", "image", "lab", "pki", "tools") for file in ROOT.glob(f"{folder}/**/*.py")]
    assert files
    assert [file for file in files if calls.search(file.read_text())] == []


def test_what_an_index_lacks_and_what_it_has_too_much_is_told_apart() -> None:
    assert push.unlike("hello@sha256:0", {ARM64, AMD64}, {ARM64, ARMV7}) == [
        "hello@sha256:0: linux/arm/v7 was built and is not in it",
        "hello@sha256:0: linux/amd64 is in it and was not built",
    ]
    assert push.unlike("hello@sha256:0", {ARM64}, {ARM64}) == []


def test_each_of_several_errors_is_told_and_one_that_they_share_once() -> None:
    with pytest.raises(UserError) as seen:
        raise_all([UserError("one"), None, UserError("both"), UserError("both")])
    assert seen.value.message == "one\nboth"
    with pytest.raises(ZeroDivisionError):
        raise_all([UserError("one"), ZeroDivisionError()])
    raise_all([None])


def test_a_lock_that_cannot_be_written_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".build").write_text("in the way")
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    cluster = Cluster("attic", Endpoint("tcp://127.0.0.1:1"), (), tmp_path)
    refused = pytest.raises(UserError, match=r"cannot write .*bake-attic\.lock")
    with refused, Lines(TimeLeft((), 1)) as told, lock.alone(cluster, told):
        pass


def test_every_piece_of_work_is_counted_and_no_other() -> None:
    """As the bar fills: of an SBOM that is made here nothing is pushed."""
    images = plan.read(("busybox", "prometheus"))
    pieces = pipeline.pieces(images, Plan(images, (ARM64, AMD64)), {})
    assert sorted(pieces) == [
        *(f"busybox {platform}" for platform in (AMD64, ARM64)),
        *(f"prometheus {platform}" for platform in (AMD64, ARM64)),
        "prometheus web interface",
    ]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_is_laid_out_has_the_same_modes_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "folder" / "www").mkdir(parents=True)
        for name in ("Dockerfile", "www/page", "program", "script"):
            (tmp_path / "folder" / name).touch()
        (tmp_path / "folder" / "script").chmod(0o777 & ~umask)
        (tmp_path / "folder" / "program").chmod(0o777 & ~umask)
        contents = Contents(
            replace(image(), folder=tmp_path / "folder"),
            {ARM64: Program(tmp_path / "folder" / "program", Sizes(0))}, pack=False,
        )  # fmt: skip
        layout = bake.lay_out(contents, tmp_path / "tree")
    finally:
        os.umask(before)
    files = layout.tree.rglob("*")
    modes = {path.name.partition("-")[0]: oct(path.stat().st_mode & 0o777) for path in files if path.is_file()}
    assert modes == {"Dockerfile": "0o644", "page": "0o644", "program": "0o755", "script": "0o755"}
    assert {oct(path.stat().st_mode & 0o777) for path in layout.tree.rglob("*") if path.is_dir()} == {"0o755"}
