"""The CA's files, made and read by openssl: another route than the code under test."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pki.authority import Identities

NODE = Identities(names=("pi1", "localhost"), addresses=("198.18.0.11", "127.0.0.1"))
EXTENSIONS = "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\n"


@dataclass(frozen=True)
class Said:
    code: int
    text: str


def openssl(*argv: str | Path, check: bool = True, stdin: bytes = b"") -> str:
    said = asked(*argv, stdin=stdin)
    assert said.code == 0 or not check, said.text
    return said.text


def asked(*argv: str | Path, stdin: bytes = b"") -> Said:
    done = subprocess.run(["openssl", *map(str, argv)], input=stdin, capture_output=True, check=False)
    return Said(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


def ca_by_openssl(
    folder: Path, key: Path, *, extensions: str = EXTENSIONS, subject: str = "CN = Brought", days: int = 3650
) -> None:
    """A `ca.pem` for a plain private key, as a person makes it; the key is copied beside it."""
    config = folder / "openssl.cnf"
    config.write_text(
        f"[req]\nprompt=no\nutf8=yes\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n{subject}\n[ext]\n{extensions}\n"
    )
    openssl("req", "-new", "-x509", "-config", config, "-key", key, "-days", str(days), "-out", folder / "ca.pem")
    config.unlink()
    (folder / "ca-key.pem").write_bytes(key.read_bytes())


def request() -> x509.CertificateSigningRequest:
    """What a node sends to be certified."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anything")])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
