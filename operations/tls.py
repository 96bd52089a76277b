"""How an engine gets its certificate, and how it comes to trust the cluster's registry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.engine import TLS_FOLDER, Engine
from facts.tls import CERTS_D, Tls, TlsState
from operations.file import place
from operations.known import converges, known
from operations.refusal import Refused
from pki.authority import Authority, Identities, issued, pem
from pki.key import KeyRing
from pki.rotation import Rotation

# A file that a power cut left empty is none, and must not take a good one's place.
_IS_KEY = "openssl pkey -noout 2>/dev/null -in"


@dataclass(frozen=True)
class Issuer:
    """Who signs, and what it lets stay."""

    folder: Path
    """The cluster's."""
    keys: KeyRing
    replacing: bool = False
    """Whether certificates of the former CA are replaced while the CA changes."""
    older_than: dt.datetime | None = None
    """Keys and certificates from before this moment are replaced, too."""

    def authority(self) -> Authority:
        """The CA as it is now, which may be another than when the run began.

        Raises:
            Refused: the folder does not hold a CA.
        """
        try:
            rotation = Rotation.load(self.folder, self.keys)
        except ValueError as error:
            raise Refused(str(error)) from error
        return rotation.replacing if self.replacing else rotation.authority


@converges(Tls)
def key_made(issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Make the node's key on the node, which it never leaves, and the request that asks for its signature.

    A new key waits beside the old one until its certificate is there.
    """
    state = known(Tls)
    wanted = state.new_public_key or state.public_key
    fresh = not wanted or (not state.new_public_key and _is_old(state, issuer.older_than))
    if not fresh and _request_matches(state, wanted):
        host.noop("already has its key")
        return
    yield StringCommand(f"mkdir -p /etc/docker && install -d -m 0700 {TLS_FOLDER}")
    if fresh:
        yield StringCommand(
            f"cd {TLS_FOLDER} && umask 077 && "
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server-key.half"
            " && sync server-key.half && mv server-key.half server-key.new && sync ."
        )
    yield StringCommand(
        f"cd {TLS_FOLDER} && key=server-key.new && {_IS_KEY} $key || key=server-key.pem"
        " && openssl req -new -key $key -subj /CN=engine -out server.half && mv server.half server.csr"
    )


def _is_old(state: TlsState, moment: dt.datetime | None) -> bool:
    """Whether the certificate was issued before `moment`; one that cannot be read is replaced anyway."""
    if moment is None:
        return False
    try:
        certificate = x509.load_pem_x509_certificate(state.server_certificate.encode())
    except ValueError:
        return False
    return issued(certificate) < moment


def _request_matches(state: TlsState, public_key: str) -> bool:
    try:
        return _public(x509.load_pem_x509_csr(state.signing_request.encode())) == public_key
    except (ValueError, UnsupportedAlgorithm):
        return False


def _public(holder: x509.CertificateSigningRequest | x509.Certificate) -> str:
    key = holder.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.decode().strip()


@converges(Tls, Engine)
def certified(issuer: Issuer, identities: Identities) -> Generator[PyinfraCommand, None, None]:
    """Have the CA sign the node's key for its names and addresses, where it has to, and the node trust the CA.

    Re-issued when the CA, a name or an address changed or fewer than 30 days are left.
    """
    authority = issuer.authority()
    state = known(Tls)
    trusted = authority.pem.decode()
    reason = objection(state, authority, identities, issuer.older_than)
    if not reason and state.ca == trusted.strip():
        host.noop("already certified")
        return
    if state.ca != trusted.strip():
        yield place(f"{TLS_FOLDER}/ca.pem", trusted, mode="444")
    if not reason:
        return
    # While pyinfra only prepares it goes no further than this, and asks nobody for the passphrase of the CA's key.
    yield StringCommand(f"test -s {TLS_FOLDER}/server.csr")
    try:
        request = x509.load_pem_x509_csr(state.signing_request.encode())
        certificate = authority.sign_server(request, identities)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(f"signing the engine's certificate ({reason}): {error}") from error
    yield place(f"{TLS_FOLDER}/server-cert.new", pem(certificate).decode(), mode="444")
    # Both at once, so that an engine which starts between the two is the rarest of cases; the next run mends it.
    yield StringCommand(
        f"cd {TLS_FOLDER} && if {_IS_KEY} server-key.new; then mv server-key.new server-key.pem; fi"
        " && mv server-cert.new server-cert.pem && sync ."
    )


def objection(
    state: TlsState,
    authority: Authority,
    identities: Identities | None = None,
    older_than: dt.datetime | None = None,
) -> str:
    """Why a node needs another certificate, in a few words; empty if it does not."""
    if state.new_public_key:
        return "a new key"
    try:
        certificate = x509.load_pem_x509_certificate(state.server_certificate.encode())
        public_key = _public(certificate)
    except (ValueError, UnsupportedAlgorithm):
        return "no certificate that can be read"
    if public_key != state.public_key:
        return "made for another key"
    return authority.objection(certificate, "server", identities, older_than=older_than)


@converges(Tls)
def registry_trusted(registry: str, issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Have the engine trust the cluster's CA for `registry`, `host:port`; it reads the file at each pull."""
    ca = issuer.authority().pem.decode()
    if known(Tls).trusted.get(registry) == ca.strip():
        host.noop("already trusted")
        return
    yield place(f"{CERTS_D}/{registry}/ca.crt", ca)
