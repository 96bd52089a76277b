"""Fingerprints of OpenPGP keys that gpg made, and of what is none."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.openpgp import PublicKey


@dataclass(frozen=True)
class Gpg:
    """gpg with a home of its own."""

    home: Path

    def __call__(self, *argv: str, stdin: bytes = b"") -> bytes:
        quiet = ("--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "")
        return subprocess.run(
            ["gpg", "--homedir", str(self.home), *quiet, *argv], input=stdin, capture_output=True, check=True
        ).stdout

    def fingerprints(self, content: bytes) -> list[str]:
        """The primary keys' in a file, as gpg reads it."""
        lines = self("--show-keys", "--with-colons", stdin=content).decode().splitlines()
        return [after.split(":")[9] for before, after in pairwise(lines) if before.startswith("pub:")]


@pytest.fixture(scope="session")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg = Gpg(home)
    for name, kind in (("rsa", "rsa2048"), ("curve", "ed25519"), ("nist", "nistp256"), ("dsa", "dsa2048")):
        gpg("--quick-gen-key", f"{name} <{name}@b.example>", kind, "sign", "never")
    (fingerprint,) = gpg.fingerprints(gpg("--export", "rsa@b.example"))
    gpg("--quick-add-key", fingerprint, "rsa2048", "encr")
    gpg("--quick-add-uid", fingerprint, "another name <c@b.example>")
    yield gpg
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


@pytest.fixture(scope="session")
def rsa(gpg: Gpg) -> bytes:
    return gpg("--export", "rsa@b.example")


@pytest.fixture(scope="session")
def armoured(gpg: Gpg) -> bytes:
    return gpg("--export", "--armor", "rsa@b.example")


@pytest.mark.parametrize("name", ["rsa", "curve", "nist", "dsa"])
@pytest.mark.parametrize("armour", [(), ("--armor",), ("--armor", "--emit-version"), ("--armor", "--comment", "hello")])
def test_the_fingerprint_is_the_one_that_gpg_shows(gpg: Gpg, name: str, armour: tuple[str, ...]) -> None:
    content = gpg(*armour, "--export", f"{name}@b.example")
    key = PublicKey.parse(content)
    assert [key.fingerprint] == gpg.fingerprints(content)
    assert key.packets == gpg("--export", f"{name}@b.example")


@pytest.mark.parametrize("ending", [b"\r\n", b"  \n"])
def test_lines_may_end_in_other_ways(rsa: bytes, armoured: bytes, ending: bytes) -> None:
    assert PublicKey.parse(b"\n" + armoured.replace(b"\n", ending)).packets == rsa


def test_a_check_sum_is_not_needed(rsa: bytes, armoured: bytes) -> None:
    without, found = re.subn(rb"\n=[^\n]{4}\n", b"\n", armoured)
    assert found == 1
    assert PublicKey.parse(without).packets == rsa


def test_a_packet_of_the_present_format_is_read_too(gpg: Gpg, rsa: bytes) -> None:
    """gpg writes keys in the old format; others write the new one, whose lengths have 1, 2 or 5 octets."""
    assert rsa[0] == 0x99
    length = int.from_bytes(rsa[1:3], "big")
    body, rest = rsa[3 : 3 + length], rsa[3 + length :]
    two = bytes([192 + (length - 192 >> 8), length - 192 & 0xFF])
    for encoded in (two, b"\xff" + length.to_bytes(4, "big")):
        content = b"\xc6" + encoded + body + rest
        assert [PublicKey.parse(content).fingerprint] == gpg.fingerprints(content) == gpg.fingerprints(rsa)


@pytest.mark.parametrize("armour", [(), ("--armor",)])
def test_two_keys_in_a_file_are_refused(gpg: Gpg, armour: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="there are 4"):
        PublicKey.parse(gpg(*armour, "--export"))


def test_a_second_block_of_text_is_refused(gpg: Gpg, armoured: bytes) -> None:
    other = gpg("--export", "--armor", "curve@b.example")
    for content in (armoured + other, armoured + b"\nmore", b"before\n" + armoured):
        with pytest.raises(ValueError, match="one block of text"):
            PublicKey.parse(content)


@pytest.mark.parametrize("armour", [(), ("--armor",)])
def test_a_secret_key_is_refused(gpg: Gpg, armour: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"secret|PUBLIC KEY"):
        PublicKey.parse(gpg(*armour, "--export-secret-keys", "curve@b.example"))


def test_a_signed_message_is_refused(gpg: Gpg) -> None:
    message = gpg("--sign", "--compress-algo", "none", "--local-user", "curve@b.example", stdin=b"a message")
    with pytest.raises(ValueError, match="packets of type 4"):
        PublicKey.parse(message)


def test_a_subkey_alone_is_refused(rsa: bytes) -> None:
    with pytest.raises(ValueError, match="there are 0"):
        PublicKey.parse(b"\xb9" + rsa[1 : 3 + int.from_bytes(rsa[1:3], "big")])


def test_a_key_of_another_version_is_refused(rsa: bytes) -> None:
    with pytest.raises(ValueError, match="version 6"):
        PublicKey.parse(rsa[:3] + b"\x06" + rsa[4:])


@pytest.mark.parametrize("text", [b"", b"\n", b"<!DOCTYPE html><title>404</title>", b"-----BEGIN PGP MESSAGE-----\n"])
def test_what_a_server_sends_in_its_place_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no OpenPGP public key"):
        PublicKey.parse(text)


def read_or_refused(content: bytes) -> None:
    try:
        key = PublicKey.parse(content)
    except ValueError:
        return
    assert re.fullmatch(r"[0-9A-F]{40}", key.fingerprint)
    assert PublicKey.parse(key.packets) == key


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read_or_refused(content)
    read_or_refused(b"\x99" + content)
    read_or_refused(b"\xc6" + content)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_key_is_read_or_refused(rsa: bytes, armoured: bytes, data: st.DataObject) -> None:
    for whole in (rsa, armoured):
        at = data.draw(st.integers(0, len(whole) - 1))
        end = data.draw(st.integers(at, len(whole)))
        put = data.draw(st.binary(max_size=8))
        read_or_refused(whole[:at] + put + whole[end:])


@settings(deadline=None)
@given(cut=st.integers(1, 200))
def test_a_key_that_is_cut_off_in_its_first_packet_is_refused(rsa: bytes, cut: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        PublicKey.parse(rsa[:cut])
