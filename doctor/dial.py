"""How an engine looks from this computer: whom it answers on 2376 and 2375."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pki.context import ENGINE_PORT

_PLAIN_PORT = 2375
_PATIENCE = 5.0  # seconds for each attempt
_REQUEST = b"GET /version HTTP/1.0\r\nHost: engine\r\n\r\n"

Answer = Literal["served", "refused", "closed", "silent"]
"""`served` is an engine's answer, `refused` a connection that was cut or denied, `closed` no listener."""


@dataclass(frozen=True)
class Door:
    """What was answered."""

    stranger: Answer
    """On 2376, to one without a certificate, over TLS and over plain HTTP: the worse of the two."""
    plain: Answer
    """On 2375, over plain HTTP."""
    owner: str | None
    """What stood against the cluster's own certificate on 2376: empty is nothing, None is not tried."""


def knock(address: str, certificates: Path | None) -> Door:
    """Ask the engine at `address`.

    Args:
        certificates: the folder with `ca.pem`, `cert.pem` and `key.pem`; None where this computer has none.
    """
    answers = {_ask(address, ENGINE_PORT, _trusting()), _ask(address, ENGINE_PORT, None)}
    order: tuple[Answer, ...] = ("served", "refused", "closed", "silent")
    stranger = next(answer for answer in order if answer in answers)
    owner = _as_owner(address, certificates) if certificates and stranger == "refused" else None
    return Door(stranger, _ask(address, _PLAIN_PORT, None), owner)


def silence(address: str, port: int) -> str:
    """Why no connection to this port can be opened; empty if one can."""
    try:
        socket.create_connection((address, port), timeout=_PATIENCE).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _trusting() -> ssl.SSLContext:
    """TLS as a stranger speaks it: without a certificate, and content with any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _ask(address: str, port: int, context: ssl.SSLContext | None) -> Answer:
    try:
        said = _exchange(address, port, context)
    except ConnectionRefusedError:
        return "closed"
    except (ssl.SSLError, ConnectionError):
        return "refused"
    except OSError:  # too late, or no way there
        return "silent"
    return "served" if said.startswith(b"HTTP/") and said.split(b" ", 2)[1:2] == [b"200"] else "refused"


def _exchange(address: str, port: int, context: ssl.SSLContext | None) -> bytes:
    with socket.create_connection((address, port), timeout=_PATIENCE) as plain:
        if context is None:
            plain.sendall(_REQUEST)
            return plain.recv(4096)
        with context.wrap_socket(plain, server_hostname=address) as wrapped:
            wrapped.sendall(_REQUEST)
            return wrapped.recv(4096)


def _as_owner(address: str, certificates: Path) -> str:
    try:
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        return "" if _exchange(address, ENGINE_PORT, context).startswith(b"HTTP/") else "it says nothing"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate: {error.verify_message}"
    except ssl.SSLError as error:
        return (error.reason or str(error)).lower().replace("_", " ")
    except OSError as error:
        return error.strerror or str(error)
