"""What certificates a host holds for its engine. One round trip; private keys stay where they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api import FactBase

from facts.engine import TLS_FOLDER
from facts.sections import script, sections


@dataclass(frozen=True)
class TlsState:
    """PEM texts, each empty where there is none."""

    ca: str
    server_certificate: str
    signing_request: str
    public_key: str
    """The public half of the node's key."""


class Tls(FactBase[TlsState]):
    """Reads `TlsState`."""

    def command(self) -> str:
        return script(
            ca=f"cat {TLS_FOLDER}/ca.pem",
            server_certificate=f"cat {TLS_FOLDER}/server-cert.pem",
            signing_request=f"cat {TLS_FOLDER}/server.csr",
            public_key=f"openssl pkey -in {TLS_FOLDER}/server-key.pem -pubout",
        )

    def process(self, output: Iterable[str]) -> TlsState:
        found = sections(output)
        return TlsState(
            ca=found.get("ca", "").strip(),
            server_certificate=found.get("server_certificate", "").strip(),
            signing_request=found.get("signing_request", "").strip(),
            public_key=found.get("public_key", "").strip(),
        )
