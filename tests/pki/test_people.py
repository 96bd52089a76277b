"""A second person's client certificate: `python -m pki client NAME --cluster shelf`."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import stat
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pki.authority import Authority, pem
from pki.context import Context
from pki.folder import cluster_folder
from pki.people import admit, client_files, readmit
from tests.commands import Done, command
from tests.pki.openssl import NODE, openssl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = cluster_folder("shelf", tmp_path)
    client_files(Authority.load_or_create(folder, "shelf"), folder, "owner")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker"


def client(folder: Path, *argv: str, cluster: str = "shelf") -> Done:
    root = folder.parent.parent
    return command(
        *(sys.executable, "-m", "pki", "client", "--cluster", cluster, "--root", root, *argv),
        DOCKER_CONFIG=str(root / "docker"),
    )


def files(own: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in own.iterdir()}


def days_left(own: Path) -> int:
    certificate = x509.load_pem_x509_certificate((own / "cert.pem").read_bytes())
    return round((certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)) / dt.timedelta(days=1))


def test_the_files_are_dockers_own_and_closed_to_others(folder: Path) -> None:
    client(folder, "alice").ok()
    own = folder / "clients" / "alice"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in own.iterdir()} == dict.fromkeys(
        ("ca.pem", "cert.pem", "key.pem"), 0o600
    )
    assert [stat.S_IMODE(path.stat().st_mode) for path in (own, own.parent)] == [0o700, 0o700]
    assert (own / "ca.pem").read_bytes() == (folder / "ca.pem").read_bytes()
    openssl("verify", "-CAfile", folder / "ca.pem", "-purpose", "sslclient", own / "cert.pem")
    assert openssl("pkey", "-in", own / "key.pem", "-pubout") == openssl(
        "x509", "-in", own / "cert.pem", "-noout", "-pubkey"
    )
    assert "CN = alice" in openssl("x509", "-in", own / "cert.pem", "-noout", "-subject").replace("CN=", "CN = ")


def test_what_it_prints_makes_a_context_that_docker_reads(folder: Path, tmp_path: Path, config: Path) -> None:
    Context("shelf", "tcp://198.18.0.11:2376", folder).write(config)
    said = client(folder, "alice").ok()
    (line,) = re.findall(r"docker context create .*", said)
    own = folder / "clients" / "alice"
    theirs = {"DOCKER_CONFIG": str(tmp_path / "theirs")}
    command("sh", "-c", f"cd {shlex.quote(str(own))} && {line}", **theirs).ok()
    seen = json.loads(command("docker", "context", "inspect", "shelf", **theirs).ok())[0]
    assert seen["Endpoints"]["docker"]["Host"] == "tcp://198.18.0.11:2376"
    assert set(seen["TLSMaterial"]["docker"]) == {"ca.pem", "cert.pem", "key.pem"}


def test_without_a_context_here_the_address_is_left_open(folder: Path) -> None:
    assert "host=tcp://ADDRESS:2376," in client(folder, "alice").ok()


def test_one_that_is_still_good_is_left_as_it_is(folder: Path) -> None:
    client(folder, "alice").ok()
    before = files(folder / "clients" / "alice")
    assert "Still good" in client(folder, "alice").ok()
    assert files(folder / "clients" / "alice") == before


def test_it_is_renewed_where_a_person_says_so(folder: Path) -> None:
    client(folder, "alice").ok()
    before = files(folder / "clients" / "alice")
    assert "Made anew" in client(folder, "alice", "--renew").ok()
    assert files(folder / "clients" / "alice")["cert.pem"] != before["cert.pem"]


def test_a_guest_of_a_week_keeps_their_certificate(folder: Path) -> None:
    client(folder, "guest", "--days", "7").ok()
    own = folder / "clients" / "guest"
    before = files(own)
    assert days_left(own) == 7
    assert "Still good" in client(folder, "guest", "--days", "7").ok()
    assert files(own) == before


def test_half_a_pair_is_made_whole(folder: Path) -> None:
    client(folder, "alice").ok()
    own = folder / "clients" / "alice"
    (own / "cert.pem").unlink()
    client(folder, "alice").ok()
    openssl("verify", "-CAfile", folder / "ca.pem", own / "cert.pem")


@pytest.mark.parametrize("name", ["..", "a/b", "-x", " ", "a" * 65, ".hidden", "ä"])
def test_a_name_that_cannot_be_a_folder_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"name {name!r}"):
        admit(Authority.load(folder), folder, name)
    assert not (folder / "clients").exists()


def test_a_refusal_is_one_line(folder: Path) -> None:
    assert client(folder, "a/b").refused("Error: name 'a/b'").count("\n") == 1


def test_an_unknown_cluster_is_refused_and_the_known_ones_are_named(folder: Path) -> None:
    client(folder, "alice", cluster="self").refused("Error: there is no cluster 'self'", "which has shelf")


def test_a_cluster_whose_ca_is_lost_is_refused(folder: Path) -> None:
    (folder / "ca-key.pem").unlink()
    client(folder, "alice").refused("Error:", "ca-key.pem")


@pytest.mark.parametrize("days", ["0", "-1", "many", "99999"])
def test_days_that_are_none_are_refused(folder: Path, days: str) -> None:
    client(folder, "alice", "--days", days).refused("--days")


def test_a_servers_certificate_is_not_taken_for_access(folder: Path) -> None:
    authority = Authority.load(folder)
    own = admit(authority, folder, "alice").folder
    key = load_pem_private_key((own / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    (own / "cert.pem").write_bytes(pem(authority.sign_server(csr, NODE)))
    assert admit(authority, folder, "alice").changed
    openssl("verify", "-CAfile", folder / "ca.pem", "-purpose", "sslclient", own / "cert.pem")


def test_a_rotation_of_all_certificates_prolongs_nobodys_access(folder: Path) -> None:
    authority = Authority.load(folder)
    admit(authority, folder, "guest", dt.timedelta(days=7))
    admit(authority, folder, "alice")
    now = dt.datetime.now(dt.UTC)
    assert readmit(authority, folder) == ()
    assert readmit(authority, folder, older_than=now - dt.timedelta(hours=1)) == ()
    before = files(folder / "clients" / "guest")
    assert readmit(authority, folder, older_than=now + dt.timedelta(minutes=1)) == ("alice", "guest")
    assert files(folder / "clients" / "guest")["cert.pem"] != before["cert.pem"]
    assert days_left(folder / "clients" / "guest") == 7


def test_who_is_from_another_ca_or_has_no_access_any_more_gets_none(folder: Path) -> None:
    admit(Authority.create("another"), folder, "stranger")
    admit(Authority.load(folder), folder, "former", dt.timedelta(seconds=-1))
    (folder / "clients" / "empty").mkdir()
    assert readmit(Authority.load(folder), folder) == ()
