"""How an engine gets its certificate, and how it comes to trust the cluster's registry."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.engine import TLS_FOLDER, Engine
from facts.tls import Tls, TlsState
from operations.file import place
from operations.known import converges, known
from operations.refusal import Refused
from pki.authority import Authority, Identities, pem


@converges(Tls)
def key_made() -> Generator[PyinfraCommand, None, None]:
    """Make the node's key on the node, which it never leaves, and the request that asks for its signature."""
    state = known(Tls)
    if state.public_key and _request_matches(state):
        host.noop("already has its key")
        return
    yield StringCommand(f"mkdir -p /etc/docker && install -d -m 0700 {TLS_FOLDER}")
    if not state.public_key:
        yield StringCommand(
            f"cd {TLS_FOLDER} && umask 077 && "
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server-key.new"
            " && mv server-key.new server-key.pem"
        )
    yield StringCommand(
        f"cd {TLS_FOLDER} && openssl req -new -key server-key.pem -subj /CN=engine -out server.new"
        " && mv server.new server.csr"
    )


def _request_matches(state: TlsState) -> bool:
    try:
        return _public(x509.load_pem_x509_csr(state.signing_request.encode())) == state.public_key
    except ValueError:
        return False


def _public(holder: x509.CertificateSigningRequest | x509.Certificate) -> str:
    key = holder.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.decode().strip()


@converges(Tls, Engine)
def certified(folder: Path, identities: Identities) -> Generator[PyinfraCommand, None, None]:
    """Have the CA in `folder` sign the node's key for its names and addresses, where it has to.

    Re-issued when the CA, a name or an address changed or fewer than 30 days are left.
    """
    authority = Authority.load(folder)
    state = known(Tls)
    objection = _objection(state, authority, identities)
    if not objection:
        host.noop("already certified")
        return
    try:
        request = x509.load_pem_x509_csr(state.signing_request.encode())
        certificate = authority.sign_server(request, identities)
    except ValueError as error:
        raise Refused(f"signing the engine's certificate ({objection}): {error}; run deploys/swarm.py again") from error
    yield place(f"{TLS_FOLDER}/ca.pem", authority.pem.decode(), mode="444")
    yield place(f"{TLS_FOLDER}/server-cert.pem", pem(certificate).decode(), mode="444")


def _objection(state: TlsState, authority: Authority, identities: Identities) -> str:
    if state.ca != authority.pem.decode().strip():
        return "trusts another CA"
    try:
        certificate = x509.load_pem_x509_certificate(state.server_certificate.encode())
    except ValueError:
        return "no certificate yet"
    if _public(certificate) != state.public_key:
        return "made for another key"
    return authority.objection(certificate, "server", identities)


@converges(Tls)
def registry_trusted(registry: str, ca: str) -> Generator[PyinfraCommand, None, None]:
    """Have the engine trust certificates of `ca` (PEM) from `registry`, `host:port`; it reads them at each pull."""
    if known(Tls).trusted.get(registry) == ca.strip():
        host.noop("already trusted")
        return
    yield place(f"/etc/docker/certs.d/{registry}/ca.crt", ca)
