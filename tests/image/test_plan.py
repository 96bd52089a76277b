"""Folders become images: what their descriptions may say, and what their keys depend on."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import plan, table
from image.errors import UserError
from image.plan import ROOT

DESCRIPTION = """
name = "hello"
program = "hello"
description = "Says hello"
source = "https://example.org"
licenses = "Apache-2.0"

[go]
module = "example.org/hello"
package = "."

[starts]
arguments = ["--version"]
shows = "hello {version}"
"""

WEB_UI = """
[web_ui]
folder = "web/ui"
script = "build"
output = "static"
target = "/ui"
pnpm = "10.0.0"
pnpm_integrity = "sha512-"

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "Hello")


def make_folder(folder: Path) -> Path:
    (folder / "page").mkdir(parents=True)
    (folder / "image.toml").write_text(DESCRIPTION)
    (folder / "go.mod").write_text("module pishelf/Hello\n\nrequire (\n\texample.org/hello v1.2.3 // indirect\n)\n")
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "page" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "link").symlink_to("/bin/hello")
    return folder


def key(folder: Path) -> str:
    return plan.read_image(folder).key


def describe(folder: Path, old: str, new: str) -> None:
    text = (folder / "image.toml").read_text()
    assert old in text
    (folder / "image.toml").write_text(text.replace(old, new))


def test_the_repositorys_own_folders_are_images() -> None:
    images = {image.name: image for image in plan.read()}
    assert set(images) >= {"alertmanager", "busybox", "node_exporter", "prometheus", "registry"}
    assert images["prometheus"].version.startswith("3."), "not the module's 0.3…"
    assert images["prometheus"].about.web_ui


def test_the_version_is_the_pin_in_go_mod(folder: Path) -> None:
    image = plan.read_image(folder)
    assert image.version == "1.2.3"
    assert image.reference("pi:5000") == f"pi:5000/hello:v1.2.3-{image.key}"


def test_a_modules_numbers_become_upstreams(folder: Path) -> None:
    (folder / "go.mod").write_text("module x\nrequire example.org/hello v0.305.7\n")
    describe(folder, 'package = "."', "package = \".\"\nversion_numbers = '0\\.(\\d)(\\d\\d)\\.(\\d+)'")
    assert plan.read_image(folder).version == "3.5.7"


def test_an_unknown_key_is_an_error_with_the_nearest_known_one(folder: Path) -> None:
    describe(folder, "licenses =", "license =")
    with pytest.raises(UserError, match=r"image.toml: unknown key 'license'\n  Try: 'licenses'"):
        plan.read_image(folder)


def test_an_unknown_key_in_a_table_is_told_with_its_table(folder: Path) -> None:
    describe(folder, "[starts]", '[starts]\nshow = ""')
    with pytest.raises(UserError, match=r"image.toml: starts: unknown key 'show'\n  Try: 'shows'"):
        plan.read_image(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "hello"', "", "'name' is missing"),
        ('name = "hello"', 'name = "Hello World"', "is no image's name"),
        ('name = "hello"', "name = 3", "name = 3 is not text"),
        ('arguments = ["--version"]', 'arguments = "--version"', "is not a list of text"),
        ('module = "example.org/hello"', 'module = "example.org/other"', "does not require example.org/other"),
        ("[go]", "[debian]", "debian: unknown key 'module'"),
        ("[starts]", "starts = 1\n[other]", "image.toml: "),
        ("[go]", "[go", "image.toml: "),
        ('package = "."', 'package = "."\nversion_numbers = "x"', "does not match x"),
        ('package = "."', 'package = "."\nversion_numbers = "("', "version_numbers = '(': missing )"),
        ('package = "."', "package = \".\"\nversion_numbers = '1\\.2\\.3(-rc)?'", "does not match"),
        ('package = "."', 'package = "."\nvariables = {"main.v" = "{versio}"}', "nothing stands for {versio}"),
        ('shows = "hello {version}"', 'shows = "hello {vers}"', "nothing stands for {vers} in 'hello {vers}'"),
        ('program = "hello"', 'program = "../../hello"', "program = '../../hello' is no file's name"),
        ('program = "hello"', 'program = ""', "program = '' is no file's name"),
        ("Says hello", "Costs ${5}", "description = 'Costs ${5}' has a ${"),
        ('program = "hello"', 'program = "hello"\ndata = "/data"', "data = '/data' is no folder below a root"),
        ('program = "hello"', 'program = "hello"\ndata = "var/../../data"', "data = 'var/../../data' is no folder"),
        ("[starts]", f"{WEB_UI}[starts]", "target = '/ui' is no folder below a root"),
        (
            'package = "."',
            'package = "."\nversion = "1.2.3"',
            "not the folder's own module, so its version stands in go",
        ),
    ],
)
def test_a_wrong_description_is_told_in_words(folder: Path, old: str, new: str, words: str) -> None:
    describe(folder, old, new)
    with pytest.raises(UserError) as seen:
        plan.read_image(folder)
    assert words in seen.value.message


def test_all_that_is_missing_is_told_at_once_tables_as_tables(folder: Path) -> None:
    (folder / "image.toml").write_text('name = "hello"\nprogram = "hello"\ndescription = ""\n[go]\npackage = "."\n')
    with pytest.raises(UserError) as seen:
        plan.read_image(folder)
    assert seen.value.message == (
        f"{folder / 'image.toml'}: 'source', 'licenses', the table [starts], 'module' in [go] are missing\n"
        "  Try: add source = …; licenses = …; [starts] with arguments = …, shows = …; module = … in [go]"
    )


def own(folder: Path, version: str = 'version = "0.1.0"', go_mod: str = "module example.org/hello\n") -> None:
    """Make a folder's program one of its own module."""
    (folder / "go.mod").write_text(go_mod)
    describe(folder, 'package = "."', f'package = "."\n{version}')


@pytest.mark.parametrize("line", ["module example.org/hello", 'module "example.org/hello" // ours'])
def test_the_version_of_the_folders_own_module_is_in_its_description(folder: Path, line: str) -> None:
    own(folder, go_mod=f"{line}\n\ngo 1.25\n")
    image = plan.read_image(folder)
    assert (image.version, image.revision) == ("0.1.0", "v0.1.0")


def test_the_folders_own_module_needs_a_version_and_one_of_its_right_form(folder: Path) -> None:
    own(folder, "")
    with pytest.raises(UserError, match=r'whose version go.mod cannot hold\n  Try: version = "0.1.0" in \[go\]'):
        plan.read_image(folder)
    describe(folder, 'package = "."', 'package = "."\nversion = "v0.1.0"')
    with pytest.raises(UserError, match=r"version 'v0.1.0' is not one"):
        plan.read_image(folder)


def test_a_web_interface_of_the_folders_own_module_is_refused_with_the_reason(folder: Path) -> None:
    own(folder)
    keys = ("folder", "script", "output", "target", "pnpm", "pnpm_integrity")
    describe(folder, "[starts]", "\n".join(["[web_ui]", *(f'{key} = "x"' for key in keys), "[starts]"]))
    with pytest.raises(UserError, match=r"example\.org/hello is the folder's own"):
        plan.read_image(folder)


@given(st.text())
def test_any_pattern_gives_a_version_or_an_error_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = make_folder(tmp_path_factory.mktemp("folder") / "Hello")
    describe(folder, 'package = "."', f'package = "."\nversion_numbers = {json.dumps(text)}')
    with suppress(UserError):
        assert plan.read_image(folder).version


@pytest.mark.parametrize(
    ("replaced", "refused"),
    [
        ("replace example.org/lib => ../lib", True),
        ('replace (\n\texample.org/lib v1.0.0 => "../lib" // ours\n)', True),
        ("replace example.org/lib => ..", True),
        ("replace example.org/lib => /srv/lib", True),
        ("replace example.org/lib => ./lib", False),
        ("replace example.org/lib => ./lib/../other", False),
        ("replace example.org/lib => example.org/fork v1.0.0", False),
        ("// replace example.org/lib => ../lib", False),
    ],
)
def test_a_module_in_another_folder_is_refused_for_no_change_of_it_would_be_seen(
    folder: Path, replaced: str, refused: bool
) -> None:
    with (folder / "go.mod").open("a") as opened:
        opened.write(f"\n{replaced}\n")
    with pytest.raises(UserError, match="is not in this folder") if refused else nullcontext():
        plan.read_image(folder)


def test_the_key_changes_with_a_source_file_that_a_link_leads_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.go").write_text("package main\n")
    (folder / "shared.go").symlink_to("../shared.go")
    before = key(folder)
    (tmp_path / "shared.go").write_text("package main // changed\n")
    assert key(folder) != before


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("One", "Two"):
        make_folder(tmp_path / name)
    with pytest.raises(UserError, match="two folders describe an image 'hello'"):
        plan.read(root=tmp_path)


def test_an_image_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no image 'nodeexporter'\n  Try: node_exporter"):
        plan.read(["nodeexporter"])


def test_the_key_is_the_same_in_another_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere" / "Hello", symlinks=True)
    assert key(tmp_path / "elsewhere" / "Hello") == key(folder)


def test_the_key_changes_with_each_input(folder: Path) -> None:
    keys = {key(folder)}

    def changed(what: str) -> None:
        new = key(folder)
        assert new not in keys, what
        keys.add(new)

    for file in ("image.toml", "go.mod", "Dockerfile", "page/run.sh"):
        with (folder / file).open("a") as opened:
            opened.write("\n")
        changed(f"a change of {file}")
    (folder / "page" / "new").touch()
    changed("a new file")
    (folder / "page" / "new").rename(folder / "page" / "newer")
    changed("a file's name")
    (folder / "page" / "run.sh").chmod(0o755)
    changed("whether a file can be run")
    (folder / "link").unlink()
    (folder / "link").symlink_to("/bin/other")
    changed("where a link leads")


def test_the_key_does_not_change_with_what_does_not_matter(folder: Path) -> None:
    before = key(folder)
    (folder / ".swp").touch()
    (folder / "Dockerfile~").touch()
    (folder / "Dockerfile").chmod(0o664)
    (folder / "Dockerfile").touch()
    assert key(folder) == before


def test_the_key_changes_with_the_toolchain(folder: Path) -> None:
    image = plan.read_image(folder)
    assert replace(image, toolchain="1.99.0").key != image.key


def test_the_key_changes_with_what_makes_the_sbom_and_the_web_interface(folder: Path) -> None:
    image = plan.read_image(folder)
    others = {replace(image, tools=tools).key for tools in (("0", image.tools[1]), (image.tools[0], "0"))}
    assert len(others | {image.key}) == 3


def test_no_host_of_a_registry_or_mirror_is_named_in_a_description() -> None:
    for file in ROOT.glob("*/image.toml"):
        about = plan.read_image(file.parent).about
        links = set(re.findall(r"https?://[^\s\"]+", file.read_text()))
        assert links <= {about.source}, "image.toml names where the source is, and no place to download from"


@dataclass(frozen=True)
class _Inner:
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Outer:
    text: str
    flag: bool = False
    number: int = 0
    names: dict[str, str] = field(default_factory=dict)
    inner: _Inner | None = None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["text", "flag", "number", "names", "inner", "else"]) | st.text(), _JSON))
def test_any_table_becomes_a_value_or_an_error_with_its_place(found: dict[str, object]) -> None:
    told = ""
    try:
        value = table.parse(_Outer, found, "here")
    except UserError as error:
        told = error.message
    assert told.startswith("here") or type(value.text) is str
