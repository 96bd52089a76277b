"""What `build-all` ends with, on values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from image import cache
from image.builder import summary, wire
from image.builder.pack import Sizes
from image.builder.published import Published
from image.errors import UserError
from image.platform import Platform

ARM64, AMD64 = map(Platform.parse, ("linux/arm64", "linux/amd64"))
NOTICE = "stays unpacked: hello ended with -11"


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[summary.Entry, ...]:
    """An image of which the wire's bytes are known for one platform."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.ensure("wire", "sha256:2", lambda folder: _write(folder / "bytes", "3900000"))
    sizes = {ARM64: Sizes(16_000_000, 4_000_000), AMD64: Sizes(16_500_000, None, NOTICE)}
    manifests = {AMD64: "sha256:1", ARM64: "sha256:2"}
    image = Published("hello", "pi:5000/hello@sha256:0", "v1.2.3-0", frozenset(sizes), True, sizes, manifests)
    return summary.of({"hello": image})


def _write(file: Path, text: str) -> None:
    file.write_text(text)


def test_the_table_shows_all_sizes_and_ends_with_the_references(entries: tuple[summary.Entry, ...]) -> None:
    lines = summary.lines(entries)
    assert [line.split() for line in lines[:3]] == [
        ["IMAGE", "TAG", "PLATFORM", "PLAIN", "PACKED", "WIRE"],
        ["hello", "v1.2.3-0", "linux/amd64", "16.5", "MB", "-", "-"],
        ["hello", "v1.2.3-0", "linux/arm64", "16.0", "MB", "4.0", "MB", "3.9", "MB"],
    ]
    assert lines[3:] == [f"hello linux/amd64: {NOTICE}", "", "pi:5000/hello@sha256:0"]


def test_json_says_the_same(entries: tuple[summary.Entry, ...]) -> None:
    (image,) = json.loads(json.dumps(summary.values(entries)))
    assert (image["reference"], image["digest"]) == ("pi:5000/hello@sha256:0", "sha256:0")
    assert image["platforms"] == [
        {"platform": "linux/amd64", "digest": "sha256:1", "plain": 16_500_000, "packed": None, "wire": None,
         "notice": NOTICE},
        {"platform": "linux/arm64", "digest": "sha256:2", "plain": 16_000_000, "packed": 4_000_000, "wire": 3_900_000,
         "notice": ""},
    ]  # fmt: skip


LAYERS = b'{"layers": [{"digest": "sha256:a", "size": 3}, {"digest": "sha256:b", "size": 4}]}'


def test_the_wire_carries_all_layers() -> None:
    assert wire.size(LAYERS, "here", f"sha256:{hashlib.sha256(LAYERS).hexdigest()}") == 7


def test_a_manifest_that_is_not_the_one_of_its_digest_is_not_measured() -> None:
    with pytest.raises(UserError, match="here is damaged"):
        wire.size(LAYERS, "here", f"sha256:{hashlib.sha256(LAYERS + b' ').hexdigest()}")


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"layers": 1}', b'{"layers": [3]}', b'{"layers": [{}]}'])
def test_what_is_no_manifest_is_told_with_its_place(manifest: bytes) -> None:
    with pytest.raises(UserError, match="here is damaged: it is no manifest"):
        wire.size(manifest, "here", f"sha256:{hashlib.sha256(manifest).hexdigest()}")
