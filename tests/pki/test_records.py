"""The swarm's ID and the key that unlocks its managers, as files."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pki import records

KEY = "SWMKEY-1-7KpLwQ0xxm7oZFTNOZgvpGJWUyIkLbMyjkzNUm+SvQM"
ID = "1s3v5c8yvb6rtm3dxkd6zbnq9"


def test_nothing_is_known_of_a_swarm_that_was_never_made(tmp_path: Path) -> None:
    assert (records.unlock_key(tmp_path), records.swarm_id(tmp_path)) == ("", "")


def test_what_is_kept_is_read_again_and_closed_to_others(tmp_path: Path) -> None:
    records.keep_unlock_key(tmp_path, KEY)
    records.keep_swarm_id(tmp_path, ID)
    assert (records.unlock_key(tmp_path), records.swarm_id(tmp_path)) == (KEY, ID)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "unlock-key": 0o600,
        "swarm-id": 0o600,
    }
    assert (tmp_path / "unlock-key").read_text() == f"{KEY}\n"


def test_an_empty_one_forgets_it(tmp_path: Path) -> None:
    records.keep_unlock_key(tmp_path, KEY)
    records.keep_swarm_id(tmp_path, ID)
    for _ in range(2):
        records.keep_unlock_key(tmp_path, "")
        assert (records.unlock_key(tmp_path), records.swarm_id(tmp_path)) == ("", ID)
    records.keep_swarm_id(tmp_path, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [records.keep_unlock_key, records.keep_swarm_id])
@pytest.mark.parametrize("text", [" ", "secret", f"{KEY}\n{KEY}", f"{ID}\n", f"{KEY[:-1]}é"])
def test_something_else_is_not_kept_and_not_shown(tmp_path: Path, keep: Callable[[Path, str], None], text: str) -> None:
    with pytest.raises(ValueError, match=r"no (unlock-key|swarm-id)") as seen:
        keep(tmp_path, text)
    assert not text.strip() or text.strip() not in str(seen.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [records.unlock_key, records.swarm_id])
def test_a_file_with_something_else_is_named_and_not_shown(tmp_path: Path, read: Callable[[Path], str]) -> None:
    for name in ("unlock-key", "swarm-id"):
        (tmp_path / name).write_bytes(b"\xffgarbage")
    with pytest.raises(ValueError, match="bring it back from a backup") as seen:
        read(tmp_path)
    assert "garbage" not in str(seen.value)
