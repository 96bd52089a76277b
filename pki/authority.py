"""A certificate authority for one cluster.

Policy: ECDSA P-256 for what we make, what a person brought may be RSA or on another curve; server
certificates serve, client certificates ask, neither signs; a Pi has no clock of its own, so what we
sign is valid from an hour ago.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.fitness import unfitness
from pki.folder import close, write_private
from pki.key import KeyRing, PrivateKey, hash_for
from pki.phase import CA, CA_KEY, Standing

Use = Literal["server", "client"]

_BACKDATED = dt.timedelta(hours=1)
_CA_LIFE = dt.timedelta(days=3650)
# Apple's and the CA/Browser Forum's limit for server certificates, so that a browser takes the registry's.
LEAF_LIFE = dt.timedelta(days=397)
RENEWAL = dt.timedelta(days=30)
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
    """A CA: its certificate and the key that signs, and whom else the cluster trusts while the CA changes."""

    certificate: x509.Certificate
    key: Callable[[], PrivateKey] = field(repr=False, compare=False)
    """Opens the key; a person may be asked for a passphrase, and a ValueError is for them."""
    former: tuple[x509.Certificate, ...] = ()
    """CAs that are trusted beside this one until every node has a certificate of this one."""
    keeps_former: bool = True
    """Whether certificates that a former CA signed may stay."""

    @classmethod
    def create(cls, name: str, key: PrivateKey | None = None) -> Self:
        """A new CA for the cluster `name`; with a key of its own unless one is given."""
        now = dt.datetime.now(dt.UTC)
        private = key or ec.generate_private_key(ec.SECP256R1())
        identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
        # A name of its own, for programs that look up an issuer by its name; X.509 allows 64 characters.
        common_name = f"{name[:40]} cluster CA {identifier.digest.hex()[:8]}"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(private, hash_for(private))
        )
        return cls(certificate, lambda: private)

    @classmethod
    def load(cls, folder: Path, keys: KeyRing | None = None) -> Self:
        """The CA of `folder`, in Docker's file names `ca.pem` and `ca-key.pem`, maybe brought there by a person.

        While the CA changes it is the one that signs in the present phase, and certificates of both are good.

        Args:
            keys: opens the key when something has to be signed; by default it asks on the terminal.

        Raises:
            ValueError: a file is missing, cannot be read as what it should be or closed to other users, the
                two do not match, or the certificate cannot be a cluster's CA.
        """
        close(folder)
        return cls.of(Standing.read(folder), keys or KeyRing())

    @classmethod
    def of(cls, standing: Standing, keys: KeyRing) -> Self:
        """The CA that signs as things stand; raises what `load` raises."""
        if reason := unfitness(standing.signs):
            raise ValueError(f"{standing.file} {reason}")
        return cls(standing.signs, keys.of(standing.key, standing.signs.public_key()), standing.former)

    @classmethod
    def load_or_create(cls, folder: Path, name: str, keys: KeyRing | None = None) -> Self:
        """The CA of `folder`; a new one is made only where neither of its files exists.

        Raises:
            ValueError: see `load`. Half a CA is never overwritten: it may be the half that matters.
        """
        keys = keys or KeyRing()
        if not (folder / CA).exists():
            create_in(folder, name, keys, CA, CA_KEY, encrypted=keys.encrypts)
        return cls.load(folder, keys)

    @property
    def pem(self) -> bytes:
        """The certificates that engines and clients are to trust: the former CA's, if any, and this one's."""
        return b"".join(map(pem, (*self.former, self.certificate)))

    @property
    def warning(self) -> str:
        """A sentence for a person where the CA ends before what it signs should; else empty."""
        end = self.certificate.not_valid_after_utc
        if end - dt.datetime.now(dt.UTC) >= LEAF_LIFE:
            return ""
        return (
            f"the cluster's CA expires on {end:%Y-%m-%d}, and no certificate that it signs lives longer; "
            f"before that day deploys/rotate_ca.py moves the cluster to a new one"
        )

    def sign_server(self, csr: x509.CertificateSigningRequest, identities: Identities) -> x509.Certificate:
        """A server certificate for the key of `csr`; what the request asks for beyond its key is ignored.

        Raises:
            ValueError: the request is not signed by the key that it names, or the CA's key cannot be opened.
        """
        if not csr.is_signature_valid:
            raise ValueError("the signing request's signature does not match its key")
        return self._sign(identities.names[0], csr.public_key(), "server", LEAF_LIFE, identities)

    def issue_client(
        self, name: str, life: dt.timedelta = LEAF_LIFE
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A client certificate and its key, for the person or program `name`.

        Raises:
            ValueError: the CA's key cannot be opened.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(name, key.public_key(), "client", life), key

    def _sign(
        self,
        name: str,
        public: CertificatePublicKeyTypes,
        use: Use,
        life: dt.timedelta,
        identities: Identities | None = None,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(now + life, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USES[use]]), critical=False)
            .add_extension(self._identifier(), critical=False)
        )
        if identities:
            builder = builder.add_extension(identities.extension(), critical=False)
        key = self.key()
        return builder.sign(key, hash_for(key))

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        """What names the CA's key: its own word, for a CA that was brought may count in another way than we do."""
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key().public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)

    def objection(
        self,
        certificate: x509.Certificate,
        use: Use,
        identities: Identities | None = None,
        *,
        older_than: dt.datetime | None = None,
        renewal: dt.timedelta = RENEWAL,
    ) -> str:
        """Why `certificate` has to be issued anew, in a few words; empty if it may stay. Needs no key.

        Args:
            older_than: certificates that were issued before this moment may not stay.
            renewal: nor may those with less life left, unless a new one would end on the same day with the CA.
        """
        if not signed_by(certificate, self.certificate) and not (
            self.keeps_former and any(signed_by(certificate, ca) for ca in self.former)
        ):
            return "not signed by this CA"
        return (
            self._untimely(certificate, older_than, renewal)
            or _of_another_use(certificate, use)
            or (_of_other_names(certificate, identities) if identities else "")
        )

    def _untimely(self, certificate: x509.Certificate, older_than: dt.datetime | None, renewal: dt.timedelta) -> str:
        now = dt.datetime.now(dt.UTC)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if end - now < renewal and end != self.certificate.not_valid_after_utc:
            return f"expires {end:%Y-%m-%d}"
        if begin > now:
            return f"not valid before {begin:%Y-%m-%d %H:%M} UTC"
        if older_than and issued(certificate) < older_than:
            return f"issued {issued(certificate):%Y-%m-%d %H:%M} UTC"
        return ""


def create_in(folder: Path, name: str, keys: KeyRing, certificate: str, key: str, *, encrypted: bool) -> None:
    """Make a CA for the cluster `name` in two files of `folder`, of which `certificate` is not there yet.

    Raises:
        ValueError: there is no passphrase for the key, or the key that is there cannot be opened.
    """
    path = folder / key
    if path.exists():
        # A lone key is what a killed run, or half a backup, left: it is kept, and gets a certificate anew.
        made = Authority.create(name, keys.lone(path))
    else:
        made = Authority.create(name)
        keys.keep(made.key(), path, encrypted=encrypted)
    write_private(folder / certificate, made.pem)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as the text that files hold."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def issued(certificate: x509.Certificate) -> dt.datetime:
    """When a certificate of ours was made, which is later than it is valid from."""
    return certificate.not_valid_before_utc + _BACKDATED


def signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether `ca` signed `certificate`; says nothing of their dates."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _of_another_use(certificate: x509.Certificate, use: Use) -> str:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return "says no use"
    return "" if _USES[use] in uses else f"not for {use} use"


def _of_other_names(certificate: x509.Certificate, identities: Identities) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "says no names"
    return "" if set(names) == set(identities.extension()) else "other names or addresses"


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
