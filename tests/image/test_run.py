"""How other programs are started and ended: on real ones."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from image.errors import UserError
from image.run import run
from tests.commands import ROOT, until


def test_a_failed_program_shows_its_command_and_its_last_words() -> None:
    with pytest.raises(UserError, match="ls '/no where' ended with 2") as seen:
        run("ls", "/no where")
    assert "No such file" in seen.value.message


def test_a_program_that_is_not_installed_is_told_with_the_way_to_it() -> None:
    with pytest.raises(UserError, match="no-such-program is not installed\n  Try: make setup"):
        run("no-such-program")


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(UserError, match="sleep 9 did not end within 0 s"):
        run("sleep", "9", timeout=0.1)


def test_the_tools_are_found_without_a_prepared_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    assert shutil.which("go") is None
    assert run("go", "version").startswith("go version go1.")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"\x00", 0o755, "cannot be started: Exec format error"),
        (b"#!/bin/sh\n", 0o644, "cannot be started: Permission denied"),
        (b"#!/no/interpreter\n", 0o755, "its interpreter or loader is not there"),
    ],
)
def test_a_program_that_the_system_does_not_start_is_told_with_the_reason(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(mode)
    with pytest.raises(UserError, match=words) as seen:
        run(program)
    assert str(program) in seen.value.message


def test_a_folder_that_is_not_there_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"true cannot be started in .*/nowhere: there is no such folder"):
        run("true", cwd=tmp_path / "nowhere")


# The shell ends when it is told to; what it started neither hears of that nor, in one of them, would obey.
FAMILY = """
echo $$ >pids.new
sh -c '{obeys} while :; do sleep 60; done' &
echo $! >>pids.new
mv pids.new pids
wait
"""
DEAF = 'trap "" TERM INT HUP;'


def lives(pid: str) -> bool:
    status = Path("/proc") / pid / "status"
    return status.exists() and "zombie" not in status.read_text()


@pytest.mark.parametrize("obeys", ["", DEAF])
def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path, obeys: str) -> None:
    with pytest.raises(UserError, match="did not end within 2 s"):
        run("sh", "-c", FAMILY.format(obeys=obeys), cwd=tmp_path, timeout=2)
    pids = (tmp_path / "pids").read_text().split()
    until(lambda: not any(map(lives, pids)))


@pytest.mark.parametrize(("how", "obeys"), [(signal.SIGINT, ""), (signal.SIGTERM, DEAF), (signal.SIGHUP, "")])
def test_whoever_ends_this_process_ends_what_its_threads_have_started(
    tmp_path: Path, how: signal.Signals, obeys: str
) -> None:
    script = f"""
from concurrent.futures import ThreadPoolExecutor
from image.run import end_as_by_ctrl_c, run
end_as_by_ctrl_c()
with ThreadPoolExecutor() as pool:
    pool.map(lambda _: run("sh", "-c", {FAMILY.format(obeys=obeys)!r}, cwd={str(tmp_path)!r}, timeout=600), [1])
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True) as it:
        until((tmp_path / "pids").exists)
        it.send_signal(how)
        _, said = it.communicate(timeout=60)
    assert it.returncode != 0
    assert said.rstrip().endswith("KeyboardInterrupt")
    pids = (tmp_path / "pids").read_text().split()
    until(lambda: not any(map(lives, pids)))
