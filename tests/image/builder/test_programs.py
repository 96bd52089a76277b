"""Real programs, made here: compiled, packed, started, and not used where they do not start."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from image import cache
from image.builder import bake, elf, pack, recipe, start
from image.errors import UserError
from image.platform import Platform
from image.run import run
from tests.image.programs import ARMV6, OWN, SOURCE, hello, plain


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", run("go", "env", "GOCACHE").strip())  # the standard library is slow to compile
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("platform", [OWN, ARMV6], ids=str)
def test_a_program_is_packed_and_starts(tmp_path: Path, platform: Platform) -> None:
    program = pack.ready(hello(tmp_path / "hello"), platform, pack=True)
    assert program.sizes.notice == ""
    assert program.sizes.packed == program.file.stat().st_size < program.sizes.plain
    elf.check(program.file, platform)


def test_a_packed_program_that_does_not_start_is_not_used(tmp_path: Path) -> None:
    image = hello(tmp_path / "hello", "not-packed")
    program = pack.ready(image, OWN, pack=True)
    assert program.sizes.packed is None
    assert "stays unpacked" in program.sizes.notice
    assert "ended with 3" in program.sizes.notice
    assert "/" not in program.sizes.notice, "it goes into the index, which is the same on every machine"
    start.prove(program.file, image, OWN)


@pytest.mark.parametrize("platform", [OWN, ARMV6], ids=str)
def test_a_packed_program_that_is_broken_is_not_used(
    tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed by an upx whose result has a good header and rubbish behind it."""
    upx = tmp_path / "bin" / "upx"
    upx.parent.mkdir()
    damage = 'dd if=/dev/zero of="$5" bs=1024 seek=100 count=300 conv=notrunc status=none'
    upx.write_text(f'#!/bin/sh\n{shutil.which("upx")} "$@" || exit\n[ "$1" = --version ] || {damage}\n')
    upx.chmod(0o755)
    monkeypatch.setenv("PATH", f"{upx.parent}:{os.environ['PATH']}")
    image = hello(tmp_path / "hello")
    program = pack.ready(image, platform, pack=True)
    assert program.sizes.packed is None
    assert "stays unpacked" in program.sizes.notice
    assert program.file.read_bytes() == plain(image, platform).read_bytes()
    start.prove(program.file, image, platform)


def test_a_packed_program_that_starts_twice_and_not_thrice_is_not_used(tmp_path: Path) -> None:
    count = """
	if info, err := os.Stat("/proc/self/exe"); err == nil && info.Size() < 800_000 {
		file, _ := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		file.WriteString("x")
		if info, _ := file.Stat(); info.Size() == 3 {
			os.Exit(4)
		}
	}
"""
    source = SOURCE.replace("func main() {", "func main() {" + count).replace("len(os.Args) > 2", "false")
    program = pack.ready(hello(tmp_path / "hello", str(tmp_path / "starts"), source=source), OWN, pack=True)
    assert (tmp_path / "starts").read_text() == "xxx"
    assert "ended with 4" in program.sizes.notice


def test_a_program_stays_plain_where_nobody_asks_for_packing(tmp_path: Path) -> None:
    asked = pack.ready(hello(tmp_path / "hello"), OWN, pack=False)
    described = pack.ready(hello(tmp_path / "hello", packing=False), OWN, pack=True)
    assert asked.sizes.packed is described.sizes.packed is None
    assert asked.sizes.notice == described.sizes.notice == ""


SETTINGS = """
GOFLAGS=-tags=theirs
GOAMD64=v3
GOARM64=v9.0
GOARM=5
GOEXPERIMENT=fieldtrack,nogreenteagc
GOFIPS140=latest
GO111MODULE=off
GO_EXTLINK_ENABLED=1
CGO_ENABLED=1
GOTOOLCHAIN=go1.99.0
GOWORK=/nowhere/go.work
"""


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "linux/arm/v6"])
@pytest.mark.parametrize("where", ["go env -w", "environment"])
def test_what_a_user_told_go_is_in_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, where: str
) -> None:
    image = hello(tmp_path / "hello")
    (image.folder / "theirs.go").write_text('//go:build theirs\n\npackage main\n\nfunc init() { println("theirs") }\n')
    monkeypatch.setenv("GOENV", "off")
    monkeypatch.delenv("GOFLAGS", raising=False)
    ours = plain(image, Platform.parse(platform)).read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    if where == "environment":
        for line in SETTINGS.split():
            monkeypatch.setenv(*line.split("=", 1))
    else:
        (tmp_path / "env").write_text(SETTINGS)
        monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    assert plain(image, Platform.parse(platform)).read_bytes() == ours


def test_what_a_user_told_go_of_the_way_to_modules_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text("GOPROXY=https://proxy.example.org\n")
    monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    monkeypatch.delenv("GOPROXY", raising=False)
    assert run("go", "env", "GOPROXY", env=recipe.GO_ENVIRONMENT) == "https://proxy.example.org\n"


def test_a_program_is_compiled_once_for_two_folders(tmp_path: Path) -> None:
    assert plain(hello(tmp_path / "one"), OWN) == plain(hello(tmp_path / "two"), OWN)


def test_a_program_that_gets_another_name_is_made_under_that_name(tmp_path: Path) -> None:
    """As where a folder is copied to begin another image with: its source is the same, its image.toml is not."""
    one = hello(tmp_path / "one")
    other = replace(one, about=replace(one.about, program="greet"))
    for packing in (False, True):
        assert pack.ready(one, OWN, packing).file.name == "hello"
        program = pack.ready(other, OWN, packing)
        assert program.file.name == "greet"
        start.prove(program.file, other, OWN)


def test_a_program_that_does_not_compile_is_told_with_its_last_words_and_log(tmp_path: Path) -> None:
    image = hello(tmp_path / "hello", source="package main\nfunc main() { nonsense() }\n")
    with pytest.raises(UserError, match=r"undefined: nonsense[\s\S]*all of it: \S*compile-hello-") as seen:
        plain(image, OWN)
    log = Path(seen.value.message.rpartition("all of it: ")[2])
    assert "nonsense" in log.read_text()
    log.unlink()
    assert not list(cache.folder().iterdir()), "a failed build leaves nothing"


def test_a_damaged_program_does_not_pass(tmp_path: Path) -> None:
    image = hello(tmp_path / "hello")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(plain(image, ARMV6).read_bytes()[:200_000])
    damaged.chmod(0o755)
    with pytest.raises(UserError, match="damaged"):
        start.prove(damaged, image, ARMV6)


def test_a_program_that_shows_something_else_does_not_pass(tmp_path: Path) -> None:
    image = hello(tmp_path / "hello", shows="hello 9")
    with pytest.raises(UserError, match=r"does not show 'hello 9' .*but 'hello 1\.2\.3'\n  Try: .*image\.toml"):
        start.prove(plain(image, OWN), image, OWN)


def test_a_program_may_show_json(tmp_path: Path) -> None:
    source = SOURCE.replace('"hello " + version', '`{"version": "` + version + `"}`')
    image = hello(tmp_path / "hello", source=source, shows='{"version": "{version}"}')
    start.prove(plain(image, OWN), image, OWN)


def test_a_server_that_does_not_end_is_told_with_what_its_description_must_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_TIMEOUT", 1)
    image = hello(tmp_path / "hello", source='package main\n\nimport "time"\n\nfunc main() { time.Sleep(time.Hour) }\n')
    with pytest.raises(UserError, match=r"did not end within 1 s\n  Try: \[starts\] arguments in .*must make it print"):
        start.prove(plain(image, OWN), image, OWN)


def test_a_program_for_another_machine_is_refused(tmp_path: Path) -> None:
    program = plain(hello(tmp_path / "hello"), ARMV6)
    elf.check(program, ARMV6)
    for other in ("linux/arm64", "linux/amd64"):
        with pytest.raises(UserError, match=f"is not for {other}"):
            elf.check(program, Platform.parse(other))


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF" + bytes(100)])
def test_what_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match="is not a little-endian ELF program"):
        elf.check(tmp_path / "file", OWN)


def test_a_result_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise UserError("no")

    with pytest.raises(UserError):
        cache.ensure("thing", "parts", fail)
    assert cache.find("thing", "parts") is None
    entry = cache.ensure("thing", "parts", lambda folder: (folder / "whole").touch())
    assert cache.ensure("thing", "parts", fail) == entry == cache.find("thing", "parts")


def test_what_cannot_be_read_is_no_fault_of_the_caches_disk() -> None:
    with pytest.raises(UserError, match="No such file or directory: '/nowhere'") as seen:
        cache.ensure("thing", "parts", lambda _: Path("/nowhere").read_text() and None)
    assert "df -h" not in seen.value.message


def test_a_result_that_another_run_made_meanwhile_is_taken(tmp_path: Path) -> None:
    def slower(folder: Path) -> None:
        (folder / "whole").write_text("mine")
        cache.ensure("thing", "parts", lambda other: (other / "whole").touch())

    entry = cache.ensure("thing", "parts", slower)
    assert (entry / "whole").read_text() == ""
    assert [path.name for path in cache.folder().iterdir()] == [entry.name]


def test_what_nobody_used_for_two_months_is_removed_and_nothing_else() -> None:
    """Ages are the file system's own, so the clock that is told is another."""
    day = 24 * 3600.0
    unused, used = (cache.ensure("thing", name, lambda folder: (folder / "x").touch()) for name in ("unused", "used"))
    cache.lasting("store")
    (cache.folder() / ".half-done").mkdir()
    cache.sweep(now=time.time() + 0.9 * day)
    assert (cache.folder() / ".half-done").exists()
    cache.sweep(now=time.time() + 1.1 * day)
    assert {path.name for path in cache.folder().iterdir()} == {unused.name, used.name, "store"}
    time.sleep(0.01)
    assert cache.find("thing", "used") == used
    cache.sweep(now=used.stat().st_ctime + 60 * day)
    assert {path.name for path in cache.folder().iterdir()} == {used.name}


def test_files_get_one_time_and_modes_of_their_own(tmp_path: Path) -> None:
    for name, mode in (("file", 0o600), ("program", 0o775)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    bake.settle(tmp_path)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "file": 0o644,
        "program": 0o755,
    }
    assert {path.stat().st_mtime for path in tmp_path.iterdir()} == {0}
