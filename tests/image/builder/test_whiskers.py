"""Whiskers: its own tests, which Go runs, with a mail server that speaks TLS and asks for a login."""

from __future__ import annotations

import shutil

from image import plan
from image.builder import start
from image.run import run
from tests.image.programs import OWN, plain

(WHISKERS,) = plan.read(("whiskers",))


def go(*words: str, **env: str) -> str:
    return run("go", *words, cwd=WHISKERS.folder, env={"GOTOOLCHAIN": "local", "GOWORK": "off", **env}, both=True)


def test_its_own_tests_pass() -> None:
    """With the race detector where there is a C compiler, which that needs."""
    race, cgo = (("-race",), "1") if shutil.which("cc") else ((), "0")
    assert "ok" in go("test", "-mod=readonly", *race, "./...", CGO_ENABLED=cgo)


def test_go_finds_nothing_to_say_of_it() -> None:
    assert go("vet", "-mod=readonly", "./...") == ""
    assert run("gofmt", "-l", WHISKERS.folder) == ""


def test_it_starts_and_says_its_version() -> None:
    program = plain(WHISKERS, OWN)
    start.prove(program, WHISKERS, OWN)
    assert run(program, "-version") == f"whiskers {WHISKERS.version}\n"
