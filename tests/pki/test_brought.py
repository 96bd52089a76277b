"""A CA that a person brings along: made by openssl, as Docker's documentation has it or in other ways."""

from __future__ import annotations

import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki.authority import Authority, pem
from pki.key import KeyRing
from pki.passphrase import FromFile
from pki.people import client_files
from tests.pki.openssl import EXTENSIONS, NODE, asked, ca_by_openssl, openssl, request

WORDS = "correct horse battery"
V1 = """\
-----BEGIN CERTIFICATE-----
MIIBLzCB1QIUGIAAcylUfKDHOZ3nY11QFbWU4OowCgYIKoZIzj0EAwIwGTEXMBUG
A1UEAwwOQSB2ZXJzaW9uIDEgQ0EwIBcNMjYxMTI1MTUwNjI5WhgPMjEyNjExMDEx
NTA2MjlaMBkxFzAVBgNVBAMMDkEgdmVyc2lvbiAxIENBMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAE0t3jTaN1Zo8Q9rF4cbeweoi+nsw31oDIw6v1XMXaODoBhofB
/P6oT/xCl9kKzLPQEDdIcyciazel221JNwhEJTAKBggqhkjOPQQDAgNJADBGAiEA
79z/bqA3ZSXHEPkgEW101gqoB8muZphl/FowqcHZTWMCIQDbZBw0fsNWer4WYpbQ
aaoNweF7WAOYpGR7TTreBFYDYA==
-----END CERTIFICATE-----
"""


@pytest.fixture(scope="session")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("rsa") / "key.pem"
    openssl("genrsa", "-out", key, "4096")
    return key


@pytest.fixture
def curve_key(tmp_path: Path) -> Path:
    return elliptic(tmp_path, "prime256v1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_text(f"{WORDS}\n")
    return KeyRing(FromFile(path))


def elliptic(folder: Path, curve: str) -> Path:
    key = folder / f"{curve}.pem"
    openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", key)
    return key


def serves(folder: Path, keys: KeyRing) -> None:
    """The CA of `folder` signs a server and a client that openssl takes, and then finds nothing to do."""
    authority = Authority.load(folder, keys)
    certificate = authority.sign_server(request(), NODE)
    (folder / "server.pem").write_bytes(pem(certificate))
    client_files(authority, folder, "owner")
    verify = ("verify", "-CAfile", folder / "ca.pem")
    openssl(*verify, "-purpose", "sslserver", "-verify_hostname", "pi1", folder / "server.pem")
    openssl(*verify, "-purpose", "sslclient", folder / "cert.pem")
    assert Authority.load(folder).objection(certificate, "server", NODE) == ""
    assert not client_files(Authority.load(folder), folder, "owner")


@pytest.mark.parametrize("form", ["plain", "PKCS 8", "traditional"])
def test_the_ca_of_dockers_own_documentation_serves(folder: Path, rsa: Path, keys: KeyRing, form: str) -> None:
    ca_by_openssl(folder, rsa, subject="C = DE\nO = Café\nCN = pi1\nemailAddress = a@b.example")
    if form != "plain":
        old = ["-traditional"] if form == "traditional" else []
        target = folder / "ca-key.pem"
        openssl("rsa", "-aes256", "-in", rsa, "-passout", f"pass:{WORDS}", *old, "-out", target)
        assert ("Proc-Type: 4,ENCRYPTED" if old else "ENCRYPTED PRIVATE KEY") in target.read_text()
    serves(folder, keys)


@pytest.mark.parametrize("curve", ["secp224r1", "prime256v1", "secp384r1", "secp521r1"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_ca_on_any_nist_curve_serves(folder: Path, keys: KeyRing, curve: str, encrypted: bool) -> None:
    key = elliptic(folder, curve)
    ca_by_openssl(folder, key)
    if encrypted:
        openssl("ec", "-aes256", "-in", key, "-passout", f"pass:{WORDS}", "-out", folder / "ca-key.pem")
    serves(folder, keys)


@pytest.mark.parametrize(
    "extensions",
    [
        "basicConstraints=critical,CA:TRUE,pathlen:0\nsubjectKeyIdentifier=hash\n",
        "basicConstraints=CA:TRUE,pathlen:3\nkeyUsage=keyCertSign\n",
        "basicConstraints=CA:TRUE\nsubjectKeyIdentifier=01:02:03:04\nauthorityKeyIdentifier=keyid\n",
        "basicConstraints=CA:TRUE\nextendedKeyUsage=serverAuth,clientAuth\n",
    ],
    ids=["pathlen", "no key identifier", "a key identifier of its own", "uses"],
)
def test_a_ca_serves_whatever_else_it_says_of_itself(
    folder: Path, curve_key: Path, keys: KeyRing, extensions: str
) -> None:
    ca_by_openssl(folder, curve_key, extensions=extensions)
    serves(folder, keys)


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ("basicConstraints=CA:FALSE", "is no CA's"),
        ("subjectKeyIdentifier=hash", "is no CA's"),
        ("basicConstraints=CA:TRUE\nkeyUsage=digitalSignature", "is no CA's"),
        ("basicConstraints=CA:TRUE\nextendedKeyUsage=serverAuth", "is no CA's"),
    ],
)
def test_a_certificate_that_may_not_sign_is_refused(
    folder: Path, curve_key: Path, extensions: str, reason: str
) -> None:
    ca_by_openssl(folder, curve_key, extensions=extensions)
    with pytest.raises(ValueError, match=rf"ca\.pem {reason}"):
        Authority.load(folder)


def test_a_version_1_certificate_is_refused(folder: Path, curve_key: Path) -> None:
    (folder / "ca.pem").write_text(V1)
    (folder / "ca-key.pem").write_bytes(curve_key.read_bytes())
    with pytest.raises(ValueError, match=r"ca\.pem is of X\.509 version 1"):
        Authority.load(folder)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (("RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "RSA key of 1024 bits"),
        (("ED25519",), "neither an ECDSA nor an RSA key"),
        (("EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "curve secp256k1"),
    ],
)
def test_a_key_that_engines_cannot_check_is_refused(
    folder: Path, tmp_path: Path, make: tuple[str, ...], reason: str
) -> None:
    openssl("genpkey", "-algorithm", *make, "-out", tmp_path / "key.pem")
    ca_by_openssl(folder, tmp_path / "key.pem")
    with pytest.raises(ValueError, match=reason):
        Authority.load(folder)


@pytest.mark.parametrize(("begin", "end", "reason"), [(-20, -1, "expired on"), (1, 20, "clock")])
def test_a_ca_out_of_its_time_is_refused(folder: Path, begin: int, end: int, reason: str) -> None:
    made(folder, dt.timedelta(days=begin), dt.timedelta(days=end))
    with pytest.raises(ValueError, match=reason):
        Authority.load(folder)


def made(folder: Path, begin: dt.timedelta, end: dt.timedelta) -> None:
    """A CA that is valid for this time from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Brought")])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now + begin, now + end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(pem(certificate))
    plain = serialization.NoEncryption()
    (folder / "ca-key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )


def test_a_ca_that_another_one_signed_is_refused(folder: Path, tmp_path: Path, curve_key: Path) -> None:
    ca_by_openssl(tmp_path, curve_key)
    own = elliptic(folder, "secp384r1")
    (folder / "ext").write_text(EXTENSIONS)
    openssl("req", "-new", "-key", own, "-subj", "/CN=Between", "-out", folder / "csr")
    openssl(
        *("x509", "-req", "-in", folder / "csr", "-extfile", folder / "ext", "-out", folder / "ca.pem"),
        *("-CA", tmp_path / "ca.pem", "-CAkey", curve_key, "-CAcreateserial"),
    )
    (folder / "ca-key.pem").write_bytes(own.read_bytes())
    with pytest.raises(ValueError, match="not signed by itself"):
        Authority.load(folder)


def test_a_chain_of_certificates_is_refused(folder: Path, curve_key: Path) -> None:
    ca_by_openssl(folder, curve_key)
    (folder / "ca.pem").write_text((folder / "ca.pem").read_text() * 2)
    with pytest.raises(ValueError, match="holds 2 certificates"):
        Authority.load(folder)


@pytest.mark.parametrize("file", ["ca.pem", "ca-key.pem"])
def test_a_file_that_is_something_else_is_refused_by_name(folder: Path, curve_key: Path, file: str) -> None:
    ca_by_openssl(folder, curve_key)
    (folder / file).write_text("something else")
    with pytest.raises(ValueError, match=f"{file} cannot be read"):
        Authority.load(folder)


def test_a_plain_key_of_another_certificate_is_refused_at_once(folder: Path, curve_key: Path, rsa: Path) -> None:
    ca_by_openssl(folder, curve_key)
    (folder / "ca-key.pem").write_bytes(rsa.read_bytes())
    with pytest.raises(ValueError, match=r"ca-key\.pem is not the key of"):
        Authority.load(folder)


def test_an_encrypted_key_of_another_certificate_is_refused_when_it_is_to_sign(
    folder: Path, curve_key: Path, rsa: Path, keys: KeyRing
) -> None:
    ca_by_openssl(folder, curve_key)
    openssl("rsa", "-aes256", "-in", rsa, "-passout", f"pass:{WORDS}", "-out", folder / "ca-key.pem")
    authority = Authority.load(folder, keys)
    with pytest.raises(ValueError, match=r"ca-key\.pem is not the key of"):
        authority.sign_server(request(), NODE)


def test_what_a_person_copied_there_is_closed_to_others(folder: Path, curve_key: Path) -> None:
    ca_by_openssl(folder, curve_key)
    for name, mode in (("ca.pem", 0o444), ("ca-key.pem", 0o644)):
        (folder / name).chmod(mode)
    Authority.load(folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"shelf": 0o700, "ca.pem": 0o400, "ca-key.pem": 0o600}


def test_the_key_on_a_stick_that_a_link_leads_to_is_closed_too(folder: Path, curve_key: Path) -> None:
    ca_by_openssl(folder, curve_key)
    curve_key.chmod(0o640)
    (folder / "ca-key.pem").unlink()
    (folder / "ca-key.pem").symlink_to(curve_key)
    Authority.load(folder)
    assert stat.S_IMODE(curve_key.stat().st_mode) == 0o600


def test_a_ca_that_expires_soon_warns_and_signs_up_to_its_own_end(folder: Path, curve_key: Path) -> None:
    ca_by_openssl(folder, curve_key, days=20)
    authority = Authority.load(folder)
    certificate = authority.sign_server(request(), NODE)
    (folder / "server.pem").write_bytes(pem(certificate))
    end = openssl("x509", "-in", folder / "ca.pem", "-noout", "-enddate")
    assert openssl("x509", "-in", folder / "server.pem", "-noout", "-enddate") == end
    assert f"{authority.certificate.not_valid_after_utc:%Y-%m-%d}" in authority.warning
    # Issued anew it would end on the same day, at each run.
    assert authority.objection(certificate, "server", NODE) == ""


def test_a_ca_with_years_to_live_warns_of_nothing(folder: Path, curve_key: Path) -> None:
    ca_by_openssl(folder, curve_key)
    assert Authority.load(folder).warning == ""


def test_a_lone_key_that_is_encrypted_gets_its_certificate(folder: Path, curve_key: Path, keys: KeyRing) -> None:
    path = folder / "ca-key.pem"
    openssl("ec", "-aes256", "-in", curve_key, "-passout", f"pass:{WORDS}", "-out", path)
    Authority.load_or_create(folder, "shelf", keys)
    public = openssl("pkey", "-in", curve_key, "-pubout")
    assert openssl("x509", "-in", folder / "ca.pem", "-noout", "-pubkey") == public
    assert asked("pkey", "-in", path, "-passin", "pass:wrong", "-noout").code != 0
