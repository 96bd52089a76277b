"""TLS as a stranger sees it: openssl dials, and certificates are made here that the project would not make."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.commands import Lab

ANSWER = '"ApiVersion"'
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def dial(lab: Lab, node: str, *argv: str | Path, ca: Path | None = None) -> str:
    """What openssl says of a TLS connection to a node's engine that asks for its version."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{lab.address(node)}:2376", "-CAfile", str(ca or lab.folder / "ca.pem"),
         "-verify_return_error", "-verify_ip", lab.address(node), "-quiet", "-ign_eof", *map(str, argv)],
        input="GET /version HTTP/1.0\r\nHost: engine\r\n\r\n", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def as_client(folder: Path) -> tuple[str | Path, ...]:
    """The arguments with which openssl shows the client certificate of a folder with Docker's file names."""
    return ("-cert", folder / "cert.pem", "-key", folder / "key.pem")


def served(lab: Lab, node: str) -> x509.Certificate:
    """The certificate that a node's engine shows."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{lab.address(node)}:2376", *map(str, as_client(lab.folder))],
        input="", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return x509.load_pem_x509_certificate(done.stdout[done.stdout.index("-----BEGIN") :].encode())


@dataclass(frozen=True)
class Signer:
    """A CA that signs whatever it is asked to."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, folder: Path) -> Signer:
        """The cluster's own CA, misused."""
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(certificate.subject, key)

    @classmethod
    def stranger(cls, name: x509.Name) -> Signer:
        """Another CA that goes by the same name."""
        return cls(name, ec.generate_private_key(ec.SECP256R1()))

    def expire(self, folder: Path) -> None:
        """Put a certificate of this CA into its folder that ended yesterday."""
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=60))
            .not_valid_after(now - dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign_yesterday(self, request: x509.CertificateSigningRequest, like: x509.Certificate) -> str:
        """A server certificate, in PEM, for the key of `request` and the names of `like`, made a day ago."""
        now = dt.datetime.now(dt.UTC)
        names = like.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate = (
            x509.CertificateBuilder()
            .subject_name(like.subject)
            .issuer_name(self.name)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=100))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([SERVER]), critical=False)
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write_client(self, folder: Path, use: ObjectIdentifier = CLIENT, days: int = 30) -> Path:
        """A certificate for `use` that ends in so many days, with its key, in Docker's file names."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=60))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return folder
