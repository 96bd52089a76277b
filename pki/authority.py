"""A certificate authority for one cluster.

Policy: ECDSA P-256; server certificates serve, client certificates ask, neither signs; a Pi has no
clock of its own, so what we sign is valid from an hour ago.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.folder import write_private

Use = Literal["server", "client"]

_BACKDATED = dt.timedelta(hours=1)
_CA_LIFE = dt.timedelta(days=3650)
# Apple's and the CA/Browser Forum's limit for server certificates, so that a browser takes the registry's.
_LEAF_LIFE = dt.timedelta(days=397)
RENEWAL = dt.timedelta(days=30)
_MEND = "bring both files back from a backup, or remove both: a new CA then certifies every node anew"
_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Identities:
    """The names and addresses that a server's certificate speaks for."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]

    def extension(self) -> x509.SubjectAlternativeName:
        """As X.509 writes them; source: RFC 5280, section 4.2.1.6."""
        return x509.SubjectAlternativeName(
            [x509.DNSName(name) for name in self.names]
            + [x509.IPAddress(ipaddress.ip_address(address)) for address in self.addresses]
        )


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate and the key that signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str, key: ec.EllipticCurvePrivateKey | None = None) -> Self:
        """A new CA for the cluster `name`; with a key of its own unless one is given."""
        now = dt.datetime.now(dt.UTC)
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} cluster CA")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The CA of `folder`, in Docker's file names `ca.pem` and `ca-key.pem`.

        Raises:
            ValueError: a file is missing, cannot be read as what it should be, or the two do not match.
        """
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder}/ca.pem cannot be read ({_first(error)}); {_MEND}") from error
        key = _load_key(folder)
        if key.public_key() != certificate.public_key():
            raise ValueError(f"{folder}/ca-key.pem is not the key of ca.pem; {_MEND}")
        return cls(certificate, key)

    @classmethod
    def load_or_create(cls, folder: Path, name: str) -> Self:
        """The CA of `folder`; a new one is made only where neither of its files exists.

        Raises:
            ValueError: see `load`. Half a CA is never overwritten: it may be the half that matters.
        """
        if (folder / "ca.pem").exists():
            return cls.load(folder)
        # A lone key is what a killed run, or half a backup, left: it is kept, and gets a certificate anew.
        made = cls.create(name, _load_key(folder) if (folder / "ca-key.pem").exists() else None)
        write_private(folder / "ca-key.pem", _private_pem(made.key))
        write_private(folder / "ca.pem", made.pem)
        return made

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return pem(self.certificate)

    def sign_server(self, csr: x509.CertificateSigningRequest, identities: Identities) -> x509.Certificate:
        """A server certificate for the key of `csr`; what the request asks for beyond its key is ignored.

        Raises:
            ValueError: the request is not signed by the key that it names.
        """
        if not csr.is_signature_valid:
            raise ValueError("the signing request's signature does not match its key")
        return self._sign(identities.names[0], csr.public_key(), "server", identities)

    def issue_client(self, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A client certificate and its key, for the person or program `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(name, key.public_key(), "client"), key

    def _sign(
        self, name: str, key: CertificatePublicKeyTypes, use: Use, identities: Identities | None = None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(now + _LEAF_LIFE, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USES[use]]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if identities:
            builder = builder.add_extension(identities.extension(), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def objection(self, certificate: x509.Certificate, use: Use, identities: Identities | None = None) -> str:
        """Why `certificate` has to be issued anew, in a few words; empty if it may stay."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return "not signed by this CA"
        if certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) < RENEWAL:
            return f"expires {certificate.not_valid_after_utc:%Y-%m-%d}"
        try:
            if _USES[use] not in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value:
                return f"not for {use} use"
            if identities:
                names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                if set(names) != set(identities.extension()):
                    return "other names or addresses"
        except x509.ExtensionNotFound as error:
            return str(error)
        return ""


def _first(error: Exception) -> str:
    """A library's first sentence; the rest is for programmers."""
    return str(error).partition(".")[0]


def _load_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder}/ca-key.pem cannot be read ({_first(error)}); {_MEND}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{folder}/ca-key.pem is not an ECDSA key; {_MEND}")
    return key


def client_files(authority: Authority, folder: Path, name: str) -> None:
    """Keep `ca.pem`, `cert.pem` and `key.pem` in `folder`, Docker's DOCKER_CERT_PATH, good for this CA."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
        if key.public_key() == certificate.public_key() and not authority.objection(certificate, "client"):
            return
    except (OSError, ValueError):
        pass  # none yet, or half of one: a new pair costs nothing
    certificate, new_key = authority.issue_client(name)
    write_private(folder / "key.pem", _private_pem(new_key))
    write_private(folder / "cert.pem", pem(certificate))


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as the text that files hold."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
