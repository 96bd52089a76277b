"""The CA's certificates, as openssl sees them."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509

from pki.authority import Authority, Identities, pem
from pki.people import client_files
from tests.pki.openssl import NODE, openssl, request


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = Authority.load_or_create(tmp_path, "test")
    (tmp_path / "server.pem").write_bytes(pem(authority.sign_server(request(), NODE)))
    client_files(authority, tmp_path, "owner")
    return tmp_path


def test_openssl_accepts_the_servers_certificate_for_its_names_and_addresses(folder: Path) -> None:
    verify = ("verify", "-CAfile", folder / "ca.pem", "-purpose", "sslserver", "-x509_strict")
    openssl(*verify, "-verify_hostname", "pi1", folder / "server.pem")
    openssl(*verify, "-verify_ip", "198.18.0.11", folder / "server.pem")
    assert "mismatch" in openssl(*verify, "-verify_ip", "198.18.0.12", folder / "server.pem", check=False)


def test_a_server_may_not_ask_and_a_client_may_not_serve(folder: Path) -> None:
    for file, purpose in (("server.pem", "sslclient"), ("cert.pem", "sslserver")):
        said = openssl("verify", "-CAfile", folder / "ca.pem", "-purpose", purpose, folder / file, check=False)
        assert "unsuitable certificate purpose" in said or "unsupported certificate purpose" in said
    openssl("verify", "-CAfile", folder / "ca.pem", "-purpose", "sslclient", folder / "cert.pem")


def test_what_we_issue_can_sign_nothing(folder: Path) -> None:
    for file in ("server.pem", "cert.pem"):
        text = openssl("x509", "-in", folder / file, "-noout", "-text")
        assert "CA:FALSE" in text
        assert "Certificate Sign" not in text


def test_private_files_are_for_their_owner_only(folder: Path) -> None:
    for name in ("ca-key.pem", "key.pem"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_the_same_ca_is_found_again(folder: Path) -> None:
    before = (folder / "ca.pem").read_bytes()
    assert Authority.load_or_create(folder, "test").pem == before


def test_a_client_certificate_that_is_good_is_kept_and_one_of_another_ca_replaced(folder: Path) -> None:
    kept = (folder / "cert.pem").read_bytes()
    client_files(Authority.load(folder), folder, "owner")
    assert (folder / "cert.pem").read_bytes() == kept
    client_files(Authority.create("another"), folder, "owner")
    assert (folder / "cert.pem").read_bytes() != kept


def test_half_a_ca_is_never_overwritten(folder: Path) -> None:
    certificate = (folder / "ca.pem").read_bytes()
    (folder / "ca-key.pem").unlink()
    with pytest.raises(ValueError, match=r"ca-key\.pem"):
        Authority.load_or_create(folder, "test")
    assert (folder / "ca.pem").read_bytes() == certificate


def test_a_lone_key_is_kept_and_certified_anew(folder: Path) -> None:
    key = (folder / "ca-key.pem").read_bytes()
    (folder / "ca.pem").unlink()
    Authority.load_or_create(folder, "test")
    assert (folder / "ca-key.pem").read_bytes() == key
    openssl("verify", "-CAfile", folder / "ca.pem", folder / "server.pem")


def test_a_key_of_another_ca_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    Authority.load_or_create(other, "other")
    (folder / "ca-key.pem").write_bytes((other / "ca-key.pem").read_bytes())
    with pytest.raises(ValueError, match="not the key of"):
        Authority.load(folder)


@pytest.mark.parametrize(
    ("identities", "objection"),
    [
        (NODE, ""),
        (Identities(NODE.names, ("198.18.0.12",)), "other names or addresses"),
        (Identities(("pi2",), NODE.addresses), "other names or addresses"),
    ],
)
def test_a_certificate_is_issued_anew_when_a_name_or_an_address_changes(
    folder: Path, identities: Identities, objection: str
) -> None:
    certificate = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    assert Authority.load(folder).objection(certificate, "server", identities) == objection


def test_a_certificate_of_another_ca_or_another_use_is_not_good(folder: Path) -> None:
    server = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    assert Authority.create("test").objection(server, "server", NODE) == "not signed by this CA"
    assert Authority.load(folder).objection(server, "client") == "not for client use"


def test_a_certificate_that_is_older_than_a_rotation_of_all_is_issued_anew_and_the_new_one_is_not(folder: Path) -> None:
    server = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    authority, now = Authority.load(folder), dt.datetime.now(dt.UTC)
    assert authority.objection(server, "server", NODE, older_than=now - dt.timedelta(minutes=1)) == ""
    assert "issued" in authority.objection(server, "server", NODE, older_than=now + dt.timedelta(minutes=1))


def test_the_owners_certificate_is_replaced_where_it_is_older_than_asked(folder: Path) -> None:
    authority, now = Authority.load(folder), dt.datetime.now(dt.UTC)
    assert not client_files(authority, folder, "owner", older_than=now - dt.timedelta(minutes=1))
    assert client_files(authority, folder, "owner", older_than=now + dt.timedelta(minutes=1))


def test_a_certificate_with_fewer_than_thirty_days_is_issued_anew() -> None:
    authority = Authority.create("test")
    for days, objection in ((29, "expires"), (31, "")):
        certificate, _ = authority.issue_client("somebody", dt.timedelta(days=days))
        assert authority.objection(certificate, "client").startswith(objection)
        assert bool(objection) == bool(authority.objection(certificate, "client"))


def test_the_longest_name_of_a_cluster_fits_into_its_ca() -> None:
    assert len(Authority.create("a" * 63).certificate.subject.rfc4514_string()) <= len("CN=") + 64


def test_two_cas_of_one_cluster_have_names_of_their_own() -> None:
    assert Authority.create("test").certificate.subject != Authority.create("test").certificate.subject
