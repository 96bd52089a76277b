"""What a certificate says, read from its PEM text by one who has no key."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True)
class Certificate:
    """A certificate's own words."""

    begins: dt.datetime
    ends: dt.datetime
    names: frozenset[str]
    """The DNS names and the addresses that it speaks for."""
    public_key: str
    """PEM."""
    pem: str

    @classmethod
    def read(cls, pem: str) -> Self:
        """Read a PEM text's first certificate.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
            key = certificate.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            return cls(
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
                _names(certificate),
                key.decode().strip(),
                pem,
            )
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from error

    def signed_by(self, cas: str) -> bool:
        """Whether one of the certificates in this PEM text signed it."""
        certificate = x509.load_pem_x509_certificate(self.pem.encode())
        return any(_signed(certificate, ca) for ca in _all(cas))


def shared(one: str, other: str) -> bool:
    """Whether two PEM texts have a certificate in common; while a CA changes there are two of them in each."""
    return bool(_all(one) & _all(other))


def _all(pem: str) -> frozenset[x509.Certificate]:
    try:
        return frozenset(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return frozenset()


def _signed(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset([*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))])
