"""The CA's key may be encrypted: who is asked for the passphrase, how often, and that nobody sees it."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.authority import Authority, pem
from pki.key import KeyRing
from pki.passphrase import ON_TERMINAL, FromFile, Passphrases, passphrases
from pki.people import client_files
from tests.commands import ROOT
from tests.pki.openssl import NODE, asked, openssl, request

WORDS = "pässphrase-4711 "


class Asked:
    """A person with some answers, who counts how often they are asked."""

    encrypts = True

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.times = 0

    def opening(self, key: Path) -> Iterator[bytes]:
        for answer in self.answers:
            self.times += 1
            yield answer.encode()
        raise ValueError(f"nobody knows the passphrase of {key}")

    def sealing(self, key: Path) -> bytes:
        del key
        return self.answers[0].encode()


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch()
    path.chmod(mode)
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "passphrase", f"{WORDS}\nwhat follows is a note\n")


@pytest.fixture
def folder(tmp_path: Path, file: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir(mode=0o700)
    authority = Authority.load_or_create(folder, "shelf", KeyRing(FromFile(file)))
    client_files(authority, folder, "owner")
    (folder / "server.pem").write_bytes(pem(authority.sign_server(request(), NODE)))
    return folder


def refused(folder: Path, source: Passphrases) -> str:
    with pytest.raises(ValueError, match=r"\w") as seen:
        Authority.load(folder, KeyRing(source)).sign_server(request(), NODE)
    return str(seen.value)


def test_a_new_key_is_encrypted_where_there_is_a_passphrase_file(folder: Path, file: Path) -> None:
    key = folder / "ca-key.pem"
    assert "BEGIN ENCRYPTED PRIVATE KEY" in key.read_text()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert asked("pkey", "-in", key, "-noout", "-passin", "pass:wrong").code != 0
    public = openssl("pkey", "-in", key, "-pubout", "-passin", f"file:{file}")
    assert openssl("x509", "-in", folder / "ca.pem", "-noout", "-pubkey") == public


def test_a_run_with_nothing_to_sign_asks_nobody(folder: Path) -> None:
    nobody = Asked()
    authority = Authority.load_or_create(folder, "shelf", KeyRing(nobody))
    assert authority.pem == (folder / "ca.pem").read_bytes()
    assert not client_files(authority, folder, "owner")
    assert authority.warning == ""
    assert nobody.times == 0


def test_a_person_is_asked_once_for_all_hosts_of_a_run(folder: Path) -> None:
    person = Asked("wrong", WORDS)
    keys = KeyRing(person)
    with ThreadPoolExecutor(8) as hosts:
        signed = list(hosts.map(lambda _: Authority.load(folder, keys).sign_server(request(), NODE), range(16)))
    assert len(signed) == 16
    assert person.times == 2


def test_a_person_is_asked_once_in_pyinfras_green_threads() -> None:
    program = """
        from gevent import monkey; monkey.patch_all()
        import pathlib, tempfile, gevent
        from pki.authority import Authority
        from pki.key import KeyRing
        class Person:
            encrypts, times = True, 0
            def opening(self, key):
                Person.times += 1
                gevent.sleep(0.05)  # the others run meanwhile
                yield b"words"
            def sealing(self, key):
                return b"words"
        folder = pathlib.Path(tempfile.mkdtemp())
        Authority.load_or_create(folder, "shelf", KeyRing(Person()))
        keys = KeyRing(Person())
        hosts = [gevent.spawn(lambda: Authority.load(folder, keys).issue_client("x")) for _ in range(8)]
        gevent.joinall(hosts, raise_error=True, timeout=60)
        print(Person.times, sum(host.successful() for host in hosts))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "8"]


def test_who_does_not_know_it_is_not_asked_again_for_the_next_host(folder: Path) -> None:
    person = Asked("wrong", "also wrong")
    authority = Authority.load(folder, KeyRing(person))
    for _ in range(3):
        with pytest.raises(ValueError, match="nobody knows the passphrase"):
            authority.issue_client("somebody")
    assert person.times == 2


def test_a_key_that_was_just_made_is_not_asked_for(tmp_path: Path) -> None:
    person = Asked(WORDS)
    client_files(Authority.load_or_create(tmp_path, "shelf", KeyRing(person)), tmp_path, "owner")
    assert person.times == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_passphrase_file_that_others_can_open_is_refused(folder: Path, tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "open", WORDS, mode)
    assert f"chmod 600 {path}" in refused(folder, FromFile(path))


def test_a_passphrase_file_of_somebody_else_is_refused(folder: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "theirs", WORDS)
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        path = Path("/etc/passwd")
    assert "belongs to user" in refused(folder, FromFile(path))


@pytest.mark.parametrize(
    ("text", "reason"), [("", "is empty"), ("\n", "is empty"), ("wrong\n", "does not open"), (WORDS[:-1], "does not")]
)
def test_a_passphrase_file_with_something_else_is_refused(folder: Path, tmp_path: Path, text: str, reason: str) -> None:
    assert reason in refused(folder, FromFile(written(tmp_path / "other", text)))


def test_a_passphrase_file_that_is_not_there_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    said = refused(folder, FromFile(tmp_path / "nowhere"))
    assert "ca_passphrase_file" in said
    assert str(tmp_path / "nowhere") in said


def test_without_a_terminal_the_way_out_is_told(folder: Path) -> None:
    done = python_m_pki(folder, stdin=subprocess.DEVNULL)
    _, said = done.communicate(timeout=60)
    assert done.returncode == 1
    assert b"ca_passphrase_file" in said
    assert b"Traceback" not in said


def test_the_setting_chooses_between_a_file_and_the_terminal(tmp_path: Path) -> None:
    assert passphrases(str(tmp_path)) == FromFile(tmp_path)
    assert passphrases("~/there") == FromFile(Path.home() / "there")
    assert passphrases(None) is ON_TERMINAL
    assert passphrases("") is ON_TERMINAL


def python_m_pki(folder: Path, **streams: object) -> subprocess.Popen[bytes]:
    """`python -m pki client`, which has to sign, for the CA of `folder`."""
    clone = folder.parent / "clone"
    (clone / ".cluster").mkdir(parents=True, mode=0o700)
    (clone / ".cluster" / "shelf").symlink_to(folder)
    argv = (sys.executable, "-m", "pki", "client", "alice", "--cluster", "shelf", "--root", str(clone))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(["setsid", "--ctty", "--wait", *argv] if "pass_fds" in streams else argv, cwd=ROOT, **pipes)  # type: ignore[call-overload,no-any-return]


def typed(folder: Path, *lines: str) -> tuple[int, str, str]:
    """What the program ends with, says on its channels, and shows on a real terminal where `lines` are typed."""
    master, slave = pty.openpty()
    process = python_m_pki(folder, stdin=slave, pass_fds=())
    os.close(slave)
    seen = ""
    for line in lines:
        while not seen.endswith(": "):
            seen += os.read(master, 1024).decode()
        os.write(master, f"{line}\n".encode())
        seen += os.read(master, 1024).decode()  # the end of the line; an echo would come before it
    out, err = process.communicate(timeout=60)
    os.close(master)
    return process.returncode, (out + err).decode(), seen


def test_a_person_types_the_passphrase_and_nobody_sees_it(folder: Path) -> None:
    code, said, seen = typed(folder, "wrong", WORDS)
    assert code == 0, said
    assert seen.count("Passphrase of") == 2
    assert WORDS not in said + seen
    openssl("verify", "-CAfile", folder / "ca.pem", folder / "clients" / "alice" / "cert.pem")


def test_three_wrong_passphrases_end_it(folder: Path) -> None:
    code, said, _ = typed(folder, "one", "two", "three")
    assert code == 1
    assert "none of 3 passphrases opened" in said
    assert "Traceback" not in said
    assert not (folder / "clients").exists()


def everything_that_can_be_printed(folder: Path, file: Path, tmp_path: Path) -> Iterator[str]:
    for source in (FromFile(file), FromFile(written(tmp_path / "almost", f"{WORDS}x")), Asked(f"{WORDS}y")):
        keys = KeyRing(source)
        authority = Authority.load(folder, keys)
        attempts: list[Callable[[], object]] = [
            lambda a=authority: a.issue_client("somebody"),  # type: ignore[misc]
            lambda k=keys: k.keep(Authority.create("x").key(), tmp_path, encrypted=True),  # type: ignore[misc]
        ]
        for attempt in attempts:
            try:
                yield repr(attempt())
            except (ValueError, OSError) as error:
                yield "".join(traceback.format_exception(error))
        yield from (repr(value) for value in (keys, authority, source, authority.key))
        yield str(vars(authority))


def test_the_passphrase_is_in_no_error_and_in_no_repr(folder: Path, file: Path, tmp_path: Path) -> None:
    printed = list(everything_that_can_be_printed(folder, file, tmp_path))
    assert any("does not open" in text for text in printed)
    assert not [text for text in printed if WORDS.strip() in text]


@settings(deadline=None, max_examples=30)
@given(words=st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1, max_size=80))
def test_any_line_is_a_passphrase(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    folder = tmp_path_factory.mktemp("shelf")
    file = written(folder / "passphrase", words)
    Authority.load_or_create(folder, "shelf", KeyRing(FromFile(file)))
    Authority.load(folder, KeyRing(FromFile(file))).issue_client("somebody")


def test_a_passphrase_that_is_too_long_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = written(tmp_path / "passphrase", "x" * 2000)
    with pytest.raises(ValueError, match="cannot encrypt") as seen:
        Authority.load_or_create(tmp_path, "shelf", KeyRing(FromFile(file)))
    assert "xxx" not in "".join(traceback.format_exception(seen.value))
    assert not (tmp_path / "ca-key.pem").exists()
