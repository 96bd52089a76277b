"""What goes wrong while programs are made, and that the same command goes on from there: on real faults."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from image import cache, durations
from image.builder import causes, modules, pipeline
from image.errors import UserError
from image.plan import Image, Plan
from image.progress import Lines
from image.run import ProgramError, run
from tests.commands import ROOT, Done, command, until
from tests.image.go_proxy import publish
from tests.image.programs import ARMV6, OWN, hello

# It waits where it is packed and a file is named to write its process number to.
WAITS = """
package main

import (
	"os"
	"strconv"
	"time"
)

var version string

func main() {
	info, err := os.Stat("/proc/self/exe")
	if file := os.Getenv("WAITS"); err == nil && file != "" && info.Size() < 900_000 {
		os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o644)
		time.Sleep(time.Minute)
	}
	println("hello " + version)
}
"""
LIBRARY = {"library.go": 'package library\n\nfunc Hello() { println("hello 1.2.3") }\n'}
USES_LIBRARY = 'package main\n\nimport "example.org/library"\n\nvar version string\n\nfunc main() { library.Hello() }\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", run("go", "env", "GOCACHE").strip())  # the standard library is slow to compile
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make(image: Image, *platforms: str, **env: str) -> Done:
    """Make a program in a process of its own."""
    return command(sys.executable, "-m", "tests.image.make_hello", image.folder, *platforms, **env)


def make_here(*images: Image) -> None:
    with Lines(durations.TimeLeft((), 1)) as progress:
        pipeline.make(images, Plan(images, (OWN,)), {}, 2, progress)


def entries() -> list[str]:
    """What the cache holds, by kind."""
    return sorted(path.name.partition("-")[0] for path in cache.folder().iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_nothing_that_a_later_one_takes_for_a_result(
    tmp_path: Path, how: signal.Signals
) -> None:
    image, waits = hello(tmp_path / "hello", source=WAITS), tmp_path / "waits"
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.image.make_hello", image.folder],
        cwd=ROOT, env={**os.environ, "WAITS": str(waits)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: waits.exists() and waits.read_text() != "")
    program = Path("/proc") / waits.read_text()
    running.send_signal(how)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    if how is signal.SIGKILL:
        os.kill(int(program.name), how)  # nobody was left to do it
    else:
        until(lambda: not program.exists() or "zombie" in (program / "status").read_text())
        assert entries() == ["compiled"]
    assert "stays unpacked" not in said
    _, _, packed, *notice = make(image).ok().split()
    assert packed.isdigit(), notice
    cache.sweep(now=(tmp_path / "cache").stat().st_ctime + 3 * 24 * 3600)
    assert entries() == ["compiled", "program"]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes, mounted while the body runs."""
    root = () if os.geteuid() == 0 else ("sudo", "-n")
    folder.mkdir(exist_ok=True)
    command(*root, "mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", folder).ok()
    try:
        yield
    finally:
        command(*root, "umount", "--lazy", folder).ok()


@pytest.mark.parametrize("room", ["for half of the program", "for the program alone", "for a part of the packed one"])
def test_a_full_disk_is_told_and_with_room_again_the_same_command_ends_well(tmp_path: Path, room: str) -> None:
    image, disk = hello(tmp_path / "hello"), tmp_path / "disk"
    plain, packed = (int(word) for word in make(image).ok().split()[1:3])
    size = {"half": plain // 2, "alone": plain + 9 * 4096, "part": plain + packed // 2}[
        next(word for word in ("half", "alone", "part") if word in room)
    ]
    with small_disk(disk, size):
        make(image, XDG_CACHE_HOME=str(disk)).refused("disk is full", "Try: df -h")
        root = () if os.geteuid() == 0 else ("sudo", "-n")
        command(*root, "mount", "-o", "remount,size=64m", disk).ok()
        file, *sizes = make(image, XDG_CACHE_HOME=str(disk)).ok().split()
        assert sizes == [str(plain), str(packed)]
        assert command(file).stderr == "hello 1.2.3\n"


def with_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """A program with a dependency that is in a proxy, and not in Go's cache."""
    publish(tmp_path / "proxy", "example.org/library", "v1.0.0", LIBRARY)
    settings = {"GOPROXY": f"file://{tmp_path / 'proxy'}", "GOSUMDB": "off", "GOMODCACHE": str(tmp_path / "mod")}
    for name, value in {**settings, "GOFLAGS": "-modcacherw"}.items():
        monkeypatch.setenv(name, value)
    image = hello(tmp_path / "hello", source=USES_LIBRARY)
    run("go", "mod", "edit", "-require=example.org/library@v1.0.0", cwd=image.folder)
    modules.go("mod", "tidy", folder=image.folder)
    run("go", "clean", "-modcache")
    return image


def test_a_module_proxy_that_is_away_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = with_library(tmp_path, monkeypatch)
    said = make(image, str(OWN), str(ARMV6), GOPROXY="http://127.0.0.1:9").refused("GOPROXY", "connection refused")
    assert said.count("the Go module proxy does not answer") == 1
    make(image, str(OWN), str(ARMV6)).ok()


def test_a_go_sum_that_says_something_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = with_library(tmp_path, monkeypatch)
    go_sum = image.folder / "go.sum"
    right = go_sum.read_text()
    go_sum.write_text(re.sub(r"h1:....", "h1:AAAA", right))
    make(image).refused("not what go.sum says", "checksum mismatch", f"git checkout {go_sum}")
    go_sum.write_text("")
    make(image).refused("do not belong together", "go mod tidy")
    assert entries() == []
    go_sum.write_text(right)
    make(image).ok()


def test_a_program_that_does_not_compile_is_told_after_the_others_are_made(tmp_path: Path) -> None:
    broken = hello(tmp_path / "broken", source="package main\nfunc main() { nonsense() }\n")
    good = hello(tmp_path / "good")
    with pytest.raises(UserError, match=r"undefined: nonsense[\s\S]*all of it: (\S*compile-broken-\S*)") as seen:
        make_here(broken, good)
    log = Path(seen.value.message.rpartition("all of it: ")[2])
    assert "undefined: nonsense" in log.read_text()
    log.unlink()
    assert entries() == ["compiled", "program"]
    shutil.rmtree(broken.folder)
    make_here(good)


MEMORY = "MemTotal:       24000000 kB\nMemFree:  1000000 kB\nMemAvailable:   {} kB\n"


@pytest.mark.parametrize(
    ("cores", "available", "jobs"), [(2, 22_000_000, 2), (8, 22_000_000, 10), (8, 6_500_000, 3), (4, 500_000, 1)]
)
def test_compilers_are_as_many_as_cores_and_as_memory_now(cores: int, available: int, jobs: int) -> None:
    assert pipeline.jobs(cores, MEMORY.format(available)) == min(cores, jobs)


def test_where_the_kernel_tells_no_memory_one_compiler_runs() -> None:
    assert pipeline.jobs(8, "") == 1


@pytest.mark.parametrize(
    ("output", "meaning", "fix"),
    [
        ("go: x: dial tcp: lookup proxy: no such host", "module proxy does not answer", "GOPROXY"),
        ("go: go.mod requires go >= 1.99 (running go 1.27.3)", "needs a newer Go", "requirements.in"),
        ("main.go:3: missing go.sum entry for module x", "do not belong together", "git checkout /hello"),
        ("/tool/link: signal: killed", "ran out of memory", "--jobs 1"),
        ('main.go:3:8: x@v1: Get "https://proxy/x": unexpected EOF', "module proxy does not answer", "GOPROXY"),
    ],
)
def test_a_known_cause_is_told_with_what_helps(output: str, meaning: str, fix: str) -> None:
    told = causes.known(ProgramError("go build ended with 1", 1, f"# hello\n{output}\n"), Path("/hello")).message
    assert output in told
    assert meaning in told
    assert fix in told.rpartition("Try: ")[2]


def test_a_program_that_was_killed_and_said_nothing_points_to_the_memory() -> None:
    words = r"ran out of memory, it seems:\n  sh -c .* ended with -9:\n  Try: .*--jobs 1"
    with pytest.raises(UserError, match=words), causes.told():
        run("sh", "-c", "kill -9 $$")


@pytest.mark.parametrize("output", ["undefined: nonsense", "syntax error: unexpected EOF, expecting }"])
def test_an_unknown_cause_stays_as_it_was_told(output: str) -> None:
    error = ProgramError("go build ended with 1", 1, f"# hello\n./main.go:3:1: {output}\n")
    assert causes.known(error, Path("/hello")) is error
