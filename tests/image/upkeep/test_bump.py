"""Pins: what is newer, and how one is moved; with modules made here, and once with upstream's own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import plan
from image.builder import modules
from image.builder.modules import GoMod, Pin
from image.errors import UserError
from image.plan import ROOT, Go
from image.run import run
from image.upkeep import bump, outdated
from tests.commands import command
from tests.image.go_proxy import publish

PROGRAM = 'package main\n\nimport "example.org/library"\n\nfunc main() { library.Hello() }\n'
LIBRARY = {"library.go": 'package library\n\nfunc Hello() { println("hello") }\n'}
PNPM = f"pnpm@10.2.0+sha512.{'00' * 64}"
PINS = ("go.mod", "go.sum", "image.toml")
DESCRIPTION = """
name = "hello"
program = "hello"
description = "Says hello"
source = "https://example.org"
licenses = "Apache-2.0"

[go]
module = "example.org/hello"
package = "example.org/hello"
version_numbers = '0\\.(\\d)(\\d\\d)\\.(\\d+)'

[web_ui]
folder = "ui"
script = "build"
output = "static"
target = "ui"
pnpm = "10.1.0"
pnpm_integrity = "sha512-AAAA"

[starts]
arguments = []
shows = "hello"
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone with one image, pinned to 3.1.0 of a program that a proxy has three releases of."""
    proxy = tmp_path / "proxy"
    for name, value in {"GOPROXY": f"file://{proxy}", "GOSUMDB": "off", "GOMODCACHE": str(tmp_path / "mod")}.items():
        monkeypatch.setenv(name, value)
    for version in ("v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0+incompatible"):
        publish(proxy, "example.org/library", version, LIBRARY)
    for version, library, more, package in (
        ("v0.301.0", "v1.0.0", "replace example.org/old => example.org/older v1.0.0\n", {}),
        ("v0.302.0", "v1.1.0", "exclude example.org/library v1.0.5\n", {"packageManager": PNPM}),
        ("v0.303.0-rc.0", "v1.2.0", "", {}),
        ("v0.310.1", "v1.2.0", "", {}),
    ):  # fmt: skip
        files = {"main.go": PROGRAM, "ui/package.json": json.dumps(package), "ui/.nvmrc": "v99.1.2\n"}
        publish(proxy, "example.org/hello", version, files, f"require example.org/library {library}\n\n{more}")
    folder = tmp_path / "clone" / "Hello"
    folder.mkdir(parents=True)
    (folder / "image.toml").write_text(DESCRIPTION)
    (folder / "go.mod").write_text(
        "module hello\n\ngo 1.25\n\ntool example.org/hello\n\n// why\nrequire example.org/hello v0.301.0\n\n"
        "replace example.org/old => example.org/older v1.0.0\n\nreplace example.org/own => example.org/ours v1.0.0\n"
    )
    modules.go("mod", "tidy", folder=folder)
    yield folder.parent
    run("go", "clean", "-modcache")  # it is read-only


def contents(folder: Path) -> dict[str, str]:
    """What a folder holds, file by file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_what_is_newer_is_told_in_upstreams_numbers_without_pre_releases(clone: Path) -> None:
    (found,) = outdated.outdated(plan.read(root=clone), ())
    assert (found.version, found.newer, found.known) == ("3.1.0", ("3.2.0", "3.10.1"), True)
    assert outdated.lines([found])[1].split() == ["hello", "3.1.0", "3.10.1", "2"]


@pytest.mark.parametrize(("newer", "known", "asked", "code"), [
    (("2.0",), True, True, 1), (("2.0",), True, False, 0), ((), True, True, 0), ((), False, False, 1),
])  # fmt: skip
def test_the_exit_code_says_newer_only_where_it_is_asked_to(
    newer: tuple[str, ...], known: bool, asked: bool, code: int
) -> None:
    assert outdated.code([outdated.Standing("hello", "x", "1.0", newer, known=known)], asked) == code


def test_a_proxy_that_does_not_answer_is_told_and_the_others_are_listed(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    (found,) = outdated.outdated(plan.read(root=clone), ())
    assert not found.known
    assert "does not answer" in found.note
    assert "connection refused" in found.note


def test_a_bump_moves_the_pin_and_what_follows_from_it(clone: Path) -> None:
    moved = bump.bump("hello", "3.2.0", clone)
    go_mod = (clone / "Hello" / "go.mod").read_text()
    assert (moved.before, moved.after) == ("3.1.0", "3.2.0")
    assert "example.org/hello v0.302.0" in go_mod
    assert [str(each) for each in moved.dependencies] == ["example.org/library v1.0.0 → v1.1.0"]
    assert "// why\n" in go_mod, "a person's comments stay"
    assert plan.read(root=clone)[0].version == "3.2.0"
    modules.go("list", "-mod=readonly", "-deps", "example.org/hello", folder=clone / "Hello")


def test_upstreams_replacements_and_exclusions_are_repeated_and_our_own_stay(clone: Path) -> None:
    bump.bump("hello", "3.2.0", clone)
    found = GoMod.read(clone / "Hello" / "go.mod")
    assert found.replaced == {"example.org/own": "example.org/ours@v1.0.0"}
    assert found.excluded == {"example.org/library@v1.0.5"}


def test_pnpm_moves_as_upstreams_package_json_says_and_another_node_is_told(clone: Path) -> None:
    moved = bump.bump("hello", "3.2.0", clone)
    ui = plan.read(root=clone)[0].about.web_ui
    assert ui is not None
    assert (ui.pnpm, ui.pnpm_integrity) == ("10.2.0", f"sha512-{'A' * 86}==")
    assert any("Node 99.1.2" in note for note in moved.notes)
    moved = bump.bump("hello", "3.10.1", clone)
    assert any("names no pnpm: 10.2.0 stays" in note for note in moved.notes)


@pytest.mark.parametrize("word", ["3.10.1", "v3.10.1", "0.310.1", "v0.310.1", None])
def test_a_version_is_upstreams_or_the_modules_or_the_newest(clone: Path, word: str | None) -> None:
    assert bump.bump("hello", word, clone).after == "3.10.1"


@pytest.mark.parametrize("word", ["3.4.0", "newest", "3.3.0-rc.0", "", "v"])
def test_an_unknown_version_is_told_with_the_nearest_and_changes_nothing(clone: Path, word: str) -> None:
    before = contents(clone / "Hello")
    with pytest.raises(UserError, match=r"has no version .*\n  Try: one of the nearest: 3\.1\.0, 3\.2\.0, 3\.10\.1"):
        bump.bump("hello", word, clone)
    assert contents(clone / "Hello") == before


def test_the_version_that_is_pinned_already_is_said_to_be(clone: Path) -> None:
    before = contents(clone / "Hello")
    moved = bump.bump("hello", "3.1.0", clone)
    assert moved.lines() == ["hello is at 3.1.0 already"]
    assert contents(clone / "Hello") == before


def test_a_bump_that_does_not_resolve_changes_nothing(clone: Path, tmp_path: Path) -> None:
    broken = {"main.go": PROGRAM.replace("library", "nowhere"), "ui/package.json": "{}"}
    publish(tmp_path / "proxy", "example.org/hello", "v0.311.0", broken, "require example.org/nowhere v1.0.0\n")
    before = contents(clone / "Hello")
    with pytest.raises(UserError, match=r"example\.org/nowhere"):
        bump.bump("hello", None, clone)
    assert contents(clone / "Hello") == before


def test_what_a_run_left_that_was_killed_between_two_files_is_mended(clone: Path) -> None:
    """As it is after go.sum and image.toml were written, and go.mod was not."""
    folder = clone / "Hello"
    before = {name: (folder / name).read_bytes() for name in PINS}
    bump.bump("hello", "3.2.0", clone)
    after = {name: (folder / name).read_bytes() for name in PINS}
    (folder / "go.sum").write_bytes(before["go.sum"] + after["go.sum"])
    (folder / "go.mod").write_bytes(before["go.mod"])
    modules.go("list", "-mod=readonly", "-deps", "example.org/hello", folder=folder)
    assert bump.bump("hello", "3.2.0", clone).changed
    assert {name: (folder / name).read_bytes() for name in PINS} == after
    assert set(contents(folder)) == set(PINS)


def test_the_exporter_goes_to_an_older_version_and_back_and_is_what_it_was(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "NodeExporter", tmp_path / "NodeExporter")
    committed = contents(ROOT / "NodeExporter")
    now = plan.read_image(ROOT / "NodeExporter").version
    older = bump.bump("node_exporter", "1.11.1", tmp_path)
    assert (older.before, older.after) == (now, "1.11.1")
    assert plan.read(root=tmp_path)[0].version == "1.11.1"
    assert contents(tmp_path / "NodeExporter") != committed
    bump.bump("node_exporter", now, tmp_path)
    assert contents(tmp_path / "NodeExporter") == committed


def test_the_pin_of_a_tool_moves_like_that_of_an_image(clone: Path) -> None:
    folder = clone / "tools"
    folder.mkdir()
    (folder / "go.mod").write_text(
        "module tools\n\ngo 1.25\n\ntool example.org/hello\n\nrequire example.org/hello v0.301.0 // indirect\n"
    )
    modules.go("mod", "tidy", folder=folder)
    (pin,) = modules.tools(folder)
    assert outdated.outdated((), [pin])[0].newer == ("0.302.0", "0.310.1")
    assert bump.bump("hello", "0.302.0", clone).folder == folder
    assert modules.tools(folder)[0].version == "0.302.0"


def test_outdated_lists_all_images_and_tools_without_a_swarm() -> None:
    done = command(sys.executable, "-m", "image", "outdated", "--json", DOCKER_HOST="tcp://127.0.0.1:9")
    found = {each["name"]: each for each in json.loads(done.ok())}
    assert set(found) >= {"busybox", "buildx", "node_exporter", "prometheus", "registry"}
    assert found["prometheus"]["version"].startswith("3.")
    assert all(each["known"] for each in found.values()), found


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    command(sys.executable, "-m", "image", "bump", "prometeus").refused("'prometeus'", "prometheus")


VERSIONS = st.lists(st.integers(0, 99), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))


@pytest.mark.parametrize(("versions", "wanted", "near"), [
    (["1.9.0", "1.12.1", "1.10.0"], "1.11.0", ["1.9.0", "1.10.0", "1.12.1"]),
    (["1.0", "2.0", "3.0", "4.0", "5.0", "10.0"], "9.0", ["3.0", "4.0", "5.0", "10.0"]),
    (["1.0", "2.0", "3.0", "4.0", "5.0", "10.0"], "0.1", ["1.0", "2.0", "3.0", "4.0"]),
    (["1.0", "2.0", "3.0", "4.0", "5.0", "10.0"], "newest", ["3.0", "4.0", "5.0", "10.0"]),
])  # fmt: skip
def test_the_nearest_versions_stand_around_the_wanted_one(versions: list[str], wanted: str, near: list[str]) -> None:
    assert bump.nearest(versions, wanted) == near


@given(st.lists(VERSIONS, min_size=1, unique=True), st.text() | VERSIONS)
def test_the_nearest_versions_exist(versions: list[str], wanted: str) -> None:
    near = bump.nearest(versions, wanted)
    assert set(near) <= set(versions)
    assert len(near) == min(4, len(versions))


NUMBERS = st.lists(st.integers(0, 99), min_size=3, max_size=3)


@given(st.lists(NUMBERS), NUMBERS)
def test_newer_is_what_has_greater_numbers_oldest_first(versions: list[list[int]], pinned: list[int]) -> None:
    def written(numbers: list[int]) -> str:
        return ".".join(map(str, numbers))

    pin = Pin("hello", ROOT, Go("m", "."), f"v{written(pinned)}")
    newer = outdated.of_releases(pin, map(written, versions)).newer
    assert list(newer) == [written(each) for each in sorted(versions) if each > pinned]


OURS, THEIRS = "example.org/ours@v1.0.0", "example.org/theirs@v1.0.0"


@pytest.mark.parametrize(("ours", "old", "new", "gone", "added", "kept"), [
    ({"x": OURS}, {"x": THEIRS}, {"x": THEIRS}, (), {}, {}),  # ours instead of upstream's, which stays as it was
    ({}, {"x": THEIRS}, {"x": THEIRS}, (), {}, {}),  # taken out by hand
    ({"x": OURS}, {}, {"x": THEIRS}, (), {}, {"x": THEIRS}),
    ({"x": "./x"}, {}, {"x@v1.2.0": THEIRS}, (), {}, {"x@v1.2.0": THEIRS}),
    ({"x": THEIRS}, {"x": THEIRS}, {"x": OURS}, ("x",), {"x": OURS}, {}),
    ({"x": THEIRS}, {"x": THEIRS}, {}, ("x",), {}, {}),
    ({"x": OURS}, {"x": THEIRS}, {}, (), {}, {}),
    ({}, {}, {"x": THEIRS, "y": "../y"}, (), {"x": THEIRS}, {}),  # a folder that only upstream has
    ({"x": THEIRS}, {}, {"x": THEIRS}, (), {}, {}),
])  # fmt: skip
def test_upstreams_replacements_never_go_over_our_own(
    ours: dict[str, str],
    old: dict[str, str],
    new: dict[str, str],
    gone: tuple[str, ...],
    added: dict[str, str],
    kept: dict[str, str],
) -> None:
    assert bump.replacements(ours, old, new) == (gone, added, kept)


def test_a_replacement_of_our_own_stays_and_is_told(clone: Path, tmp_path: Path) -> None:
    publish(
        tmp_path / "proxy",
        "example.org/hello",
        "v0.312.0",
        {"main.go": PROGRAM, "ui/package.json": "{}"},
        "require example.org/library v1.2.0\n\nreplace example.org/own => example.org/theirs v1.0.0\n",
    )
    moved = bump.bump("hello", "3.12.0", clone)
    assert GoMod.read(clone / "Hello" / "go.mod").replaced == {"example.org/own": "example.org/ours@v1.0.0"}
    assert any("example.org/own by example.org/theirs@v1.0.0" in note for note in moved.notes)


def test_a_release_without_the_web_interface_is_told(clone: Path, tmp_path: Path) -> None:
    publish(tmp_path / "proxy", "example.org/hello", "v0.312.0", {"main.go": PROGRAM}, _NEEDS_THE_LIBRARY)
    before = contents(clone / "Hello")
    with pytest.raises(UserError, match=r"ui/package\.json: No such file or directory\n  Try: .*\[web_ui\]"):
        bump.bump("hello", "3.12.0", clone)
    assert contents(clone / "Hello") == before


_NEEDS_THE_LIBRARY = "require example.org/library v1.2.0\n"


def test_no_room_for_the_copy_is_told(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "is-not-there"))
    with pytest.raises(UserError, match=r"in a copy of .*Hello: .*No such file.*\n  Try: df -h; TMPDIR="):
        bump.bump("hello", "3.2.0", clone)


def test_advice_names_the_persons_folder_and_not_the_copy(clone: Path) -> None:
    go_sum = clone / "Hello" / "go.sum"
    go_sum.write_text(re.sub(r"(?m)^(example.org/library v1.0.0 h1:).{8}", r"\1AAAAAAAA", go_sum.read_text()))
    with pytest.raises(UserError) as raised:
        bump.bump("hello", "3.1.0", clone)
    assert f"git checkout {go_sum};" in raised.value.message


@pytest.mark.parametrize("written", ["tool example.org/hello", "tool (\n\texample.org/hello // why\n)"])
def test_tools_are_found_however_go_mod_writes_them(written: str, tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(
        f"module tools\n\ngo 1.25\n\n{written}\n\nrequire (\n\texample.org/hello v0.301.0\n)\n"
    )
    (pin,) = modules.tools(tmp_path)
    assert (pin.name, pin.go.module, pin.module_version) == ("hello", "example.org/hello", "v0.301.0")


def test_a_tool_that_go_mod_does_not_require_is_told(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module tools\n\ntool example.org/hello\n")
    with pytest.raises(UserError, match=r"example\.org/hello\n  Try: go get -tool example\.org/hello"):
        modules.tools(tmp_path)


def test_a_tool_is_named_like_an_image() -> None:
    images, tools = modules.named(("buildx", "busybox"))
    assert [image.name for image in images] == ["busybox"]
    assert [tool.name for tool in tools] == ["buildx"]
    with pytest.raises(UserError, match=r"no image or tool 'buildz'\n  Try: buildx of .*busybox, .*registry, .*buildx"):
        modules.named(("buildz",))


def test_for_a_program_of_ones_own_nobody_upstream_is_asked(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:9")
    folder = clone / "Hello"
    (folder / "go.mod").write_text("module example.org/hello\n")
    text = DESCRIPTION.replace("[web_ui]", 'version = "0.1.0"\n[web_ui]')
    (folder / "image.toml").write_text(text[: text.index("[web_ui]")] + text[text.index("[starts]") :])
    (found,) = outdated.outdated(plan.read(root=clone), ())
    assert (found.version, found.newer, found.known) == ("0.1.0", (), True)
    assert "own" in found.note
    with pytest.raises(
        UserError, match=r"hello is a program of your own\n  Try: write its new version into .*image\.toml"
    ):
        bump.bump("hello", None, clone)
