"""The way to a new CA: what is trusted and who signs at each step, and that a killed run goes on."""

from __future__ import annotations

import datetime as dt
import http.server
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pki import rotation
from pki.authority import Authority, pem
from pki.client import engine
from pki.key import KeyRing, private_pem
from pki.passphrase import FromFile
from pki.people import admit, client_files
from pki.phase import Phase
from pki.rotation import Rotation
from tests.commands import command
from tests.pki.openssl import NODE, asked, ca_by_openssl, openssl, request

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing()


@pytest.fixture
def folder(tmp_path: Path, keys: KeyRing) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir(mode=0o700)
    authority = Authority.load_or_create(folder, "shelf", keys)
    client_files(authority, folder, "owner")
    admit(authority, folder, "alice")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def verifies(folder: Path, certificate: bytes, ca: bytes, purpose: str = "sslserver") -> bool:
    (folder.parent / "leaf.pem").write_bytes(certificate)
    (folder.parent / "trust.pem").write_bytes(ca)
    said = asked("verify", "-CAfile", folder.parent / "trust.pem", "-purpose", purpose, folder.parent / "leaf.pem")
    return said.code == 0


def server(authority: Authority) -> bytes:
    return pem(authority.sign_server(request(), NODE))


def walk(folder: Path, keys: KeyRing) -> None:
    """What `deploys/rotate_ca.py` does here, leaving out the nodes."""
    rotation.begin(folder, "shelf", keys)
    rotation.clients(folder, "owner", keys)
    rotation.retire(folder, keys)
    rotation.finish(folder, keys)


def test_the_nodes_trust_and_get_what_each_phase_needs(folder: Path, keys: KeyRing) -> None:
    old = (folder / "ca.pem").read_bytes()
    before = server(Authority.load(folder, keys))

    both = rotation.begin(folder, "shelf", keys)
    new = (folder / "next-ca.pem").read_bytes()
    assert both.phase is Phase.BOTH
    assert (folder / "ca.pem").read_bytes() == both.authority.pem == old + new
    after = server(both.authority)
    assert verifies(folder, before, both.authority.pem)
    assert verifies(folder, after, both.authority.pem)
    assert verifies(folder, after, new)
    assert not verifies(folder, after, old)

    assert rotation.clients(folder, "owner", keys) == ("alice",)
    for own in (folder, folder / "clients" / "alice"):
        assert verifies(folder, (own / "cert.pem").read_bytes(), new, "sslclient")

    retiring = rotation.retire(folder, keys)
    assert retiring.phase is Phase.RETIRING
    assert (folder / "ca.pem").read_bytes() == retiring.authority.pem == new
    assert verifies(folder, server(retiring.authority), new)

    settled = rotation.finish(folder, keys)
    assert settled.phase is Phase.SETTLED
    assert (folder / "ca.pem").read_bytes() == settled.authority.pem == new
    assert (folder / "clients" / "alice" / "ca.pem").read_bytes() == new
    assert (folder / "retired-ca.pem").read_bytes() == old
    assert names(folder) == {"ca.pem", "ca-key.pem", "cert.pem", "key.pem", "clients", "retired-ca.pem"}
    assert verifies(folder, server(Authority.load(folder, KeyRing())), new)


def test_the_old_key_is_gone_for_good(folder: Path, keys: KeyRing) -> None:
    old = (folder / "ca-key.pem").read_bytes()
    walk(folder, keys)
    assert not [path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == old]


def test_an_ordinary_run_in_the_middle_takes_both_and_changes_nothing(folder: Path, keys: KeyRing) -> None:
    old = x509.load_pem_x509_certificate(server(Authority.load(folder, keys)))
    rotation.begin(folder, "shelf", keys)
    before = {path: path.read_bytes() for path in folder.rglob("*.pem")}
    ordinary = Authority.load_or_create(folder, "shelf", keys)
    new = x509.load_pem_x509_certificate(server(ordinary))
    assert [ordinary.objection(certificate, "server", NODE) for certificate in (old, new)] == ["", ""]
    assert not client_files(ordinary, folder, "owner")
    assert {path: path.read_bytes() for path in folder.rglob("*.pem")} == before
    assert Rotation.load(folder, keys).phase is Phase.BOTH


def test_the_rotation_itself_replaces_what_the_former_ca_signed(folder: Path, keys: KeyRing) -> None:
    old = x509.load_pem_x509_certificate(server(Authority.load(folder, keys)))
    both = rotation.begin(folder, "shelf", keys)
    new = x509.load_pem_x509_certificate(server(both.authority))
    assert both.replacing.objection(old, "server", NODE) == "not signed by this CA"
    assert both.replacing.objection(new, "server", NODE) == ""
    assert both.replacing.pem == both.authority.pem


def test_once_the_former_ca_is_retired_nothing_of_it_is_good(folder: Path, keys: KeyRing) -> None:
    old = x509.load_pem_x509_certificate(server(Authority.load(folder, keys)))
    rotation.begin(folder, "shelf", keys)
    rotation.clients(folder, "owner", keys)
    rotation.retire(folder, keys)
    assert Authority.load(folder, keys).objection(old, "server", NODE) == "not signed by this CA"


def test_between_the_two_steps_of_its_beginning_the_old_ca_is_in_force(folder: Path, keys: KeyRing) -> None:
    old = (folder / "ca.pem").read_bytes()
    rotation.begin(folder, "shelf", keys)
    (folder / "ca.pem").write_bytes(old)
    loaded = Rotation.load(folder, keys)
    assert (loaded.phase, loaded.authority.pem) == (Phase.MADE, old)
    assert verifies(folder, server(loaded.authority), old)


class Killed(BaseException):
    """What a power cut is to a program."""


@contextmanager
def killed_at(step: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the program die at its step-th change of a file, before or after it; the dead change nothing more."""
    done: list[str] = []
    replace, unlink = Path.replace, Path.unlink

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(path: Path, *args: Any, **kwargs: Any) -> Any:
            if len(done) >= step + after:
                raise Killed
            result = change(path, *args, **kwargs)
            done.append(path.name)
            if len(done) >= step + after and after:
                raise Killed
            return result

        return changed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying(replace))
        patch.setattr(Path, "unlink", dying(unlink))
        yield


@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    deaths = 0
    for step in range(50):
        folder = tmp_path / str(step)
        folder.mkdir(mode=0o700)
        authority = Authority.load_or_create(folder, "shelf")
        client_files(authority, folder, "owner")
        admit(authority, folder, "alice")
        old = (folder / "ca.pem").read_bytes()
        with killed_at(step, after, monkeypatch):
            try:
                walk(folder, KeyRing())
                break
            except Killed:
                deaths += 1
        ordinary = Authority.load_or_create(folder, "shelf")  # an ordinary run comes between
        client_files(ordinary, folder, "owner")
        assert verifies(folder, server(ordinary), ordinary.pem)
        assert verifies(folder, (folder / "cert.pem").read_bytes(), ordinary.pem, "sslclient")
        if rotation.due(folder, dt.datetime.now(dt.UTC) - HOUR):
            walk(folder, KeyRing())
        assert Rotation.load(folder, KeyRing()).phase is Phase.SETTLED
        new = (folder / "ca.pem").read_bytes()
        assert (folder / "retired-ca.pem").read_bytes() == old != new
        assert not {"next-ca.pem", "next-ca-key.pem"} & names(folder)
        for own in (folder, folder / "clients" / "alice"):
            assert (own / "ca.pem").read_bytes() == new
            assert verifies(folder, (own / "cert.pem").read_bytes(), new, "sslclient")
    assert deaths > 8


def test_a_second_run_right_after_it_has_nothing_to_do(folder: Path, keys: KeyRing) -> None:
    now = dt.datetime.now(dt.UTC)
    assert rotation.due(folder, now - HOUR)
    rotation.begin(folder, "shelf", keys)
    assert rotation.due(folder, now - HOUR)
    walk(folder, keys)
    assert not rotation.due(folder, now - HOUR)
    assert rotation.due(folder, now + HOUR)


def test_a_year_later_it_goes_again(folder: Path, keys: KeyRing) -> None:
    walk(folder, keys)
    second = (folder / "ca.pem").read_bytes()
    os.utime(folder / "retired-ca.pem", (0, 0))
    assert rotation.due(folder, dt.datetime.now(dt.UTC) - HOUR)
    walk(folder, keys)
    assert (folder / "retired-ca.pem").read_bytes() == second
    assert (folder / "ca.pem").read_bytes() != second


def test_no_step_goes_before_its_time(folder: Path, keys: KeyRing) -> None:
    with pytest.raises(ValueError, match="not moving to a new CA"):
        rotation.retire(folder, keys)
    rotation.begin(folder, "shelf", keys)
    with pytest.raises(ValueError, match="still trusts its former CA"):
        rotation.finish(folder, keys)
    with pytest.raises(ValueError, match=r"cert\.pem is not of the new CA"):
        rotation.retire(folder, keys)
    assert Rotation.load(folder, keys).phase is Phase.BOTH


def test_a_ca_whose_key_is_lost_can_be_left(folder: Path, keys: KeyRing) -> None:
    (folder / "ca-key.pem").unlink()
    walk(folder, keys)
    assert verifies(folder, server(Authority.load(folder)), (folder / "ca.pem").read_bytes())


def test_a_ca_that_has_expired_can_be_left(folder: Path, keys: KeyRing) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Old")])
    expired = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - 2 * HOUR, now - HOUR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(pem(expired))
    (folder / "ca-key.pem").write_bytes(private_pem(key))
    with pytest.raises(ValueError, match=r"deploys/rotate_ca\.py"):
        Authority.load(folder, keys)
    walk(folder, keys)
    assert Authority.load(folder, keys).warning == ""


def test_a_person_may_say_which_ca_comes_next(folder: Path, keys: KeyRing, tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    brought.mkdir()
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", tmp_path / "key.pem")
    ca_by_openssl(brought, tmp_path / "key.pem")
    (folder / "next-ca.pem").write_bytes((brought / "ca.pem").read_bytes())
    (folder / "next-ca-key.pem").write_bytes((brought / "ca-key.pem").read_bytes())
    walk(folder, keys)
    assert "Brought" in openssl("x509", "-in", folder / "ca.pem", "-noout", "-subject")
    assert verifies(folder, server(Authority.load(folder)), (folder / "ca.pem").read_bytes())


@pytest.mark.parametrize("what", ["no CA's", "not the key of"])
def test_a_next_ca_that_cannot_serve_is_refused_while_nobody_trusts_it(
    folder: Path, keys: KeyRing, tmp_path: Path, what: str
) -> None:
    before = (folder / "ca.pem").read_bytes()
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "key.pem")
    brought = tmp_path / "brought"
    brought.mkdir()
    fit = what != "no CA's"
    ca_by_openssl(brought, tmp_path / "key.pem", extensions=f"basicConstraints=CA:{'TRUE' if fit else 'FALSE'}")
    (folder / "next-ca.pem").write_bytes((brought / "ca.pem").read_bytes())
    (folder / "next-ca-key.pem").write_bytes(((folder if fit else brought) / "ca-key.pem").read_bytes())
    with pytest.raises(ValueError, match=what):
        rotation.begin(folder, "shelf", keys)
    assert (folder / "ca.pem").read_bytes() == before


def test_files_that_do_not_fit_together_are_refused(folder: Path, keys: KeyRing) -> None:
    rotation.begin(folder, "shelf", keys)
    (folder / "next-ca.pem").write_bytes(Authority.create("another").pem)
    with pytest.raises(ValueError, match=r"ca\.pem should hold the CA and that of next-ca\.pem"):
        Authority.load(folder, keys)
    (folder / "next-ca.pem").unlink()
    with pytest.raises(ValueError, match="holds 2 certificates"):
        Authority.load(folder, keys)


def test_a_cluster_without_a_ca_has_none_to_leave(tmp_path: Path, keys: KeyRing) -> None:
    with pytest.raises(ValueError, match=r"ca\.pem cannot be read"):
        rotation.begin(tmp_path, "shelf", keys)


def test_an_encrypted_keys_successor_is_encrypted_too(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir(mode=0o700)
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_text("correct horse")
    keys = KeyRing(FromFile(file))
    client_files(Authority.load_or_create(folder, "shelf", keys), folder, "owner")
    walk(folder, KeyRing(FromFile(file)))
    openssl("pkey", "-in", folder / "ca-key.pem", "-noout", "-passin", f"file:{file}")
    assert asked("pkey", "-in", folder / "ca-key.pem", "-noout", "-passin", "pass:").code != 0


class _Engine(http.server.BaseHTTPRequestHandler):
    """As much of an engine's API as a client asks for first."""

    def do_GET(self) -> None:
        body = b'{"ApiVersion": "1.44", "MinAPIVersion": "1.24", "Version": "0", "Os": "linux", "Arch": "arm64"}'
        self.send_response(200)
        for header in (
            ("Api-Version", "1.44"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
        ):
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path, authority: Authority) -> Iterator[str]:
    """A server with a certificate of `authority`, which lets in whom `authority` says; its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    path = folder.parent / "server.pem"
    path.write_bytes(pem(authority.sign_server(csr, NODE)) + private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def reaches(folder: Path, url: str) -> bool:
    """Whether docker's command line and its Python library, which agree, reach the engine with the owner's files."""
    environment = {"DOCKER_HOST": url, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}
    said = command("docker", "version", "--format", "{{.Server.Os}}", DOCKER_CONTEXT="", **environment)
    if said.code == 0:
        assert engine(url, folder).version()["Os"] == "linux"
        return True
    assert "certificate signed by unknown authority" in said.said
    with pytest.raises(docker.errors.DockerException, match="CERTIFICATE_VERIFY_FAILED"):
        engine(url, folder)
    return False


def test_docker_reaches_old_and_new_servers_while_both_are_trusted_and_only_new_ones_after(
    folder: Path, keys: KeyRing
) -> None:
    old = Authority.load(folder, keys)
    both = rotation.begin(folder, "shelf", keys)
    for node in (old, both.authority):
        with serving(folder, node) as url:
            assert reaches(folder, url)
    rotation.clients(folder, "owner", keys)
    with serving(folder, both.authority) as url:
        assert reaches(folder, url)
    new = rotation.retire(folder, keys)
    with serving(folder, new.authority) as url:
        assert reaches(folder, url)
    with serving(folder, old) as url:
        assert not reaches(folder, url)
