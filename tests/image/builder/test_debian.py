"""Programs of Debian's: which version is pinned, and how the mirror is asked."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import plan
from image.builder import debian
from image.errors import UserError
from image.plan import ROOT, Debian
from image.platform import Platform
from image.upkeep import bump, outdated

ARMV6 = Platform("linux", "arm", "v6")


def package(version: str) -> Debian:
    return Debian("busybox-static", "trixie", "usr/bin/busybox", version)


def pinned(version: str, clone: Path) -> plan.Image:
    """Busybox in another clone, pinned to a version."""
    shutil.copytree(ROOT / "Busybox", clone / "Busybox", symlinks=True)
    file = clone / "Busybox" / "image.toml"
    about = plan.read_image(ROOT / "Busybox").about.debian
    assert about
    file.write_text(file.read_text().replace(f'version = "{about.version}"', f'version = "{version}"'))
    return plan.read(root=clone)[0]


@pytest.mark.parametrize(("said", "found"), [
    ("Inst busybox-static (1:1.37.0-6+b9 Debian:13.8/stable [amd64])", "1.37.0-6+b9"),
    ("I: x\nInst hello (2.10-3 Debian:12/oldstable [armhf])\nConf hello", None),
    ("Inst busybox-static (1:1.37.0-6+deb13u1 Debian:13/stable [arm64])", "1.37.0-6+deb13u1"),
    ("", None),
])  # fmt: skip
def test_debians_version_is_read_from_what_apt_would_install(said: str, found: str | None) -> None:
    assert debian.parse_version(said, "busybox-static") == found


@pytest.mark.parametrize(("version", "upstream"), [
    ("1.37.0-6+b9", "1.37.0"), ("1.37.0-6+deb13u1", "1.37.0"), ("1.37.0", "1.37.0"), ("2.0~rc1-1", "2.0"), ("x-1", ""),
])  # fmt: skip
def test_upstreams_version_follows_from_debians(version: str, upstream: str) -> None:
    assert package(version).upstream == upstream


@pytest.mark.parametrize(("found", "pin", "fits"), [
    ("1.37.0-6+b9", "1.37.0-6+b9", True),
    ("1.37.0-6+b8", "1.37.0-6+b9", True),  # one architecture was rebuilt less often than another
    ("1.37.0-6", "1.37.0-6+b9", True),
    ("1.37.0-6+b10", "1.37.0-6+b9", False),
    ("1.37.0-6+deb13u1", "1.37.0-6+b9", False),
    ("1.37.0-6+b9", "1.37.0", False),
])  # fmt: skip
def test_a_pin_fits_its_source_and_the_rebuilds_up_to_it(found: str, pin: str, fits: bool) -> None:
    assert debian.is_as_pinned(found, pin) == fits


@given(st.text())
def test_any_text_is_a_source_without_a_rebuild_or_with_one(version: str) -> None:
    source, rebuild = debian.source_and_rebuild(version)
    assert version.startswith(source)
    assert debian.is_as_pinned(version, version)
    assert rebuild >= 0


def test_the_newest_is_the_last_rebuild_of_any_architecture() -> None:
    assert debian.newest_of({"1.37.0-6+b9", "1.37.0-6+b10", "1.37.0-6"}, package("")) == "1.37.0-6+b10"


def test_a_suite_that_is_between_two_sources_is_told() -> None:
    with pytest.raises(UserError, match=r"1\.37\.0-6\+b9 and 1\.37\.0-7.*\n  Try: .*tomorrow"):
        debian.newest_of({"1.37.0-6+b9", "1.37.0-7"}, package(""))


def test_a_fix_of_security_is_newer_than_what_is_pinned() -> None:
    found = outdated.of_suite("busybox", package("1.37.0-6+b9"), "1.37.0-6+deb13u1")
    assert found.newer == ("1.37.0-6+deb13u1",)
    assert outdated.code([found], newer=True) == 1
    assert outdated.of_suite("busybox", package("1.37.0-6+b9"), "1.37.0-6+b9").newer == ()
    assert outdated.of_suite("busybox", package("1.37.0-6+b10"), "1.37.0-6+b9").newer == ()


def test_another_pin_is_another_image(tmp_path: Path) -> None:
    one, other = (pinned(version, tmp_path / version) for version in ("1.37.0-6+b9", "1.37.0-6+deb13u1"))
    assert one.version == other.version == "1.37.0"
    assert one.tag != other.tag


def test_a_version_that_the_suite_has_no_more_is_refused_and_a_bump_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    old = pinned("1.37.0-1", tmp_path)
    assert old.about.debian
    with pytest.raises(UserError, match=r"for armel now, and .* pins 1\.37\.0-1\n  Try: .*image bump busybox, then"):
        debian.unpacked(old, old.about.debian, ARMV6)
    moved = bump.bump("busybox", None, tmp_path)
    now = plan.read(root=tmp_path)[0]
    assert now.about.debian
    assert (moved.before, moved.after) == ("1.37.0-1", now.about.debian.version)
    assert debian.unpacked(now, now.about.debian, ARMV6).stat().st_size > 1_000_000
    assert bump.bump("busybox", None, tmp_path).lines() == [f"busybox is at {moved.after} already"]


@contextmanager
def mirror_with_a_password() -> Iterator[tuple[str, list[str]]]:
    """Its address, and the logins that it gets; it has nothing."""
    logins = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class calls it so
            logins.append(self.headers.get("Authorization", ""))
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            """Nothing on the tests' output."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/debian/", logins
        server.shutdown()


def test_a_mirrors_password_is_in_no_argument_error_or_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With an apt-get that knows such a mirror, and is apt's own in all else."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(debian, "LOGS", tmp_path / "log")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    image = plan.read_image(ROOT / "Busybox")
    assert image.about.debian
    with mirror_with_a_password() as (address, logins):
        (tmp_path / "apt-get").write_text(
            f'#!/bin/sh\n[ $1 = indextargets ] || exec {shutil.which("apt-get")} "$@"\n'
            f"echo 'Debian|stable|http://user:s3cret@{address}'\n"
        )
        (tmp_path / "apt-get").chmod(0o755)
        with pytest.raises(UserError) as raised:
            debian.version(image, image.about.debian, "arm64")
    assert "Basic dXNlcjpzM2NyZXQ=" in logins
    logs = [file.read_text() for file in (tmp_path / "log").iterdir()]
    assert logs
    for text in (raised.value.message, caplog.text, *logs):
        assert "mmdebstrap" in text
        assert "s3cret" not in text


def test_what_may_be_a_password_is_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "sources.list"
    assert debian.closed(("deb http://m/debian trixie main",), file) == ("deb http://m/debian trixie main",)
    assert not file.exists()
    assert debian.closed(("deb http://user:s3cret@m/debian trixie main", "x"), file) == (str(file),)
    assert file.read_text() == "deb http://user:s3cret@m/debian trixie main\nx\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
