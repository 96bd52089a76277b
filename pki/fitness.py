"""What a certificate must be to serve as a cluster's CA: people may bring one that something else made."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

# What Go's crypto/x509, and so the engine, can check.
_CURVES = (ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
# OpenSSL's security level 2, Debian's default, takes no shorter one.
_RSA_BITS = 2048


def unfitness(certificate: x509.Certificate) -> str:
    """Why a certificate cannot be a cluster's CA, with the fix; empty if it can."""
    return _of_key(certificate) or _of_kind(certificate) or _of_time(certificate)


def _of_key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "has a key of an unknown kind; bring one with an ECDSA or RSA key"
    if isinstance(key, rsa.RSAPublicKey):
        short = key.key_size < _RSA_BITS
        return f"has an RSA key of {key.key_size} bits; bring one with {_RSA_BITS} or more" if short else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = isinstance(key.curve, _CURVES)
        return "" if known else f"has a key on the curve {key.curve.name}, which engines do not know; use P-256"
    return "has neither an ECDSA nor an RSA key; bring one that has"


def _of_kind(certificate: x509.Certificate) -> str:
    if certificate.version is not x509.Version.v3:
        return "is of X.509 version 1, which does not say that it is a CA; make one anew, e.g. with `openssl req -x509`"
    try:
        extensions = certificate.extensions
    except ValueError:
        return "has extensions that cannot be read; make one anew, e.g. with `openssl req -x509`"
    if not _may_sign(extensions):
        return "is no CA's (basicConstraints, keyUsage or extendedKeyUsage say so); bring the CA's own certificate"
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return "is not signed by itself but by another CA; bring a root CA, which every program takes as it is"
    return ""


def _may_sign(extensions: x509.Extensions) -> bool:
    """Whether the extensions let it sign certificates of servers and of clients; source: RFC 5280, section 4.2.1."""
    found = {extension.oid: extension.value for extension in extensions}
    basic = found.get(x509.BasicConstraints.oid)
    usage = found.get(x509.KeyUsage.oid)
    uses = found.get(x509.ExtendedKeyUsage.oid)
    return (
        isinstance(basic, x509.BasicConstraints)
        and basic.ca
        and (not isinstance(usage, x509.KeyUsage) or usage.key_cert_sign)
        and (
            not isinstance(uses, x509.ExtendedKeyUsage)
            or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in uses
            or {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(uses)
        )
    )


def _of_time(certificate: x509.Certificate) -> str:
    now = dt.datetime.now(dt.UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end <= now:
        return f"expired on {end:%Y-%m-%d}; deploys/rotate_ca.py moves the cluster to a new one"
    if begin > now:
        return (
            f"is valid only from {begin:%Y-%m-%d %H:%M} UTC on, and this computer's clock says "
            f"{now:%Y-%m-%d %H:%M}; set the clock right"
        )
    return ""
