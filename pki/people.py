"""Client certificates: the owner's, and those of other people and programs that may use the cluster.

A folder with `ca.pem`, `cert.pem` and `key.pem` is what Docker takes as DOCKER_CERT_PATH. The owner's is the
cluster's own folder, everybody else's is `clients/<name>/` in it. Engines know no revocation: to take somebody's
access away, remove their folder and move the cluster to a new CA.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from pki.authority import LEAF_LIFE, RENEWAL, Authority, pem, signed_by
from pki.folder import write_private
from pki.key import private_pem
from pki.phase import CA, certificates

_CLIENTS, _CERTIFICATE, _KEY = "clients", "cert.pem", "key.pem"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}")


@dataclass(frozen=True)
class Access:
    """Somebody's client certificate."""

    folder: Path
    until: dt.datetime
    changed: bool
    """Whether a file of the folder was written anew."""


def client_files(authority: Authority, folder: Path, name: str, *, older_than: dt.datetime | None = None) -> bool:
    """Keep the owner's `cert.pem` and `key.pem` in `folder` good for this CA; whether they were made anew.

    Args:
        older_than: a certificate that was issued before this moment is replaced.

    Raises:
        ValueError: the CA's key cannot be opened.
    """
    if has_good_client(authority, folder, older_than=older_than):
        return False
    _issue(authority, folder, name, LEAF_LIFE)
    return True


def admit(
    authority: Authority, folder: Path, name: str, life: dt.timedelta = LEAF_LIFE, *, renew: bool = False
) -> Access:
    """Let `name` use the cluster of `folder` for `life`; who may already keeps their certificate, unless `renew`.

    Raises:
        ValueError: the name is none, or the CA's key cannot be opened.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: use up to 64 letters, digits and '@._-', beginning with one of the former")
    own = folder / _CLIENTS / name
    # A certificate for a week is not due at once.
    kept = not renew and has_good_client(authority, own, renewal=min(RENEWAL, life / 3))
    if not kept:
        _issue(authority, own, name, life)
    updated = _trust(authority, own)
    (certificate,) = certificates(own / _CERTIFICATE)
    return Access(own, certificate.not_valid_after_utc, changed=updated or not kept)


def readmit(authority: Authority, folder: Path, *, older_than: dt.datetime | None = None) -> tuple[str, ...]:
    """Replace everybody's certificates that `authority` does not keep, with the same end; who needs the new files.

    Whose access has ended, or is not from this cluster's CA or its former one, gets none.

    Args:
        older_than: certificates that were issued before this moment are replaced, too.

    Raises:
        ValueError: the CA's key cannot be opened.
    """
    return tuple(
        own.name
        for own in sorted((folder / _CLIENTS).glob("*"))
        if (end := _end(authority, own)) and _readmitted(authority, own, end, older_than)
    )


def has_stale_clients(authority: Authority, folder: Path, *, older_than: dt.datetime | None = None) -> bool:
    """Whether `client_files` or `readmit` would write something."""
    if not has_good_client(authority, folder, older_than=older_than):
        return True
    return any(
        _end(authority, own)
        and not (
            has_good_client(authority, own, older_than=older_than, renewal=dt.timedelta()) and _trusts(authority, own)
        )
        for own in (folder / _CLIENTS).glob("*")
    )


def has_good_client(
    authority: Authority, folder: Path, *, older_than: dt.datetime | None = None, renewal: dt.timedelta = RENEWAL
) -> bool:
    """Whether `folder` holds a client certificate that may stay, see `Authority.objection`, and its key."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / _CERTIFICATE).read_bytes())
        key = serialization.load_pem_private_key((folder / _KEY).read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return False  # none yet, or half of one: a new pair costs nothing
    return key.public_key() == certificate.public_key() and not authority.objection(
        certificate, "client", older_than=older_than, renewal=renewal
    )


def _end(authority: Authority, own: Path) -> dt.datetime | None:
    """When the access in a person's folder ends; None where it is none of ours or has ended."""
    try:
        certificate = x509.load_pem_x509_certificate((own / _CERTIFICATE).read_bytes())
    except (OSError, ValueError):
        return None
    ours = any(signed_by(certificate, ca) for ca in (authority.certificate, *authority.former))
    end = certificate.not_valid_after_utc
    return end if ours and end > dt.datetime.now(dt.UTC) else None


def _readmitted(authority: Authority, own: Path, end: dt.datetime, older_than: dt.datetime | None) -> bool:
    kept = has_good_client(authority, own, older_than=older_than, renewal=dt.timedelta())
    if not kept:
        _issue(authority, own, own.name, end - dt.datetime.now(dt.UTC))
    return _trust(authority, own) or not kept


def _issue(authority: Authority, own: Path, name: str, life: dt.timedelta) -> None:
    certificate, key = authority.issue_client(name, life)
    for folder in (own.parent, own):
        folder.mkdir(mode=0o700, exist_ok=True)
    write_private(own / _KEY, private_pem(key))
    write_private(own / _CERTIFICATE, pem(certificate))


def _trust(authority: Authority, own: Path) -> bool:
    """Write the CAs that a person's docker is to trust; whether they were others before."""
    if _trusts(authority, own):
        return False
    write_private(own / CA, authority.pem)
    return True


def _trusts(authority: Authority, own: Path) -> bool:
    return (own / CA).exists() and (own / CA).read_bytes() == authority.pem
