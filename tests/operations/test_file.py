"""What becomes of a small file, by the shell that writes it."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from pyinfra.api import StringCommand

from operations.file import place_unseen

CONTENT = '{"proxies": {"https-proxy": "http://me:hunter2@proxy"}}\n'


def run(written: StringCommand) -> None:
    subprocess.run(["sh", "-c", str(written)], input=written.connector_arguments["_stdin"], text=True, check=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o600, 0o640, 0o644])
def test_a_file_like_another_is_as_closed_as_that_one(tmp_path: Path, before: int) -> None:
    model, path = tmp_path / "daemon.json", tmp_path / "daemon.json.candidate"
    model.write_text("{}")
    model.chmod(before)
    run(place_unseen(str(path), CONTENT, mode="644", like=str(model)))
    assert (path.read_text(), mode(path)) == (CONTENT, before)
    assert model.read_text() == "{}"


def test_a_file_keeps_its_own_mode_and_has_the_one_that_is_said_where_it_is_new(tmp_path: Path) -> None:
    path = tmp_path / "docker" / "daemon.json"
    written = place_unseen(str(path), CONTENT, mode="644", like=str(path))
    run(written)
    assert mode(path) == 0o644
    path.chmod(0o600)
    run(written)
    assert mode(path) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["daemon.json"]


def test_what_is_not_to_be_seen_is_in_no_argument(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    written = place_unseen(str(path), CONTENT)
    assert "hunter2" not in str(written) + repr(written)
    run(written)
    assert (path.read_text(), mode(path)) == (CONTENT, 0o600)
