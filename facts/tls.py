"""What certificates a host holds for its engine. One round trip; private keys stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.engine import TLS_FOLDER
from facts.part import Part

CERTS_D = "/etc/docker/certs.d"
HTPASSWD = "/etc/docker/registry/htpasswd"


@dataclass(frozen=True)
class TlsState:
    """PEM texts, each empty where there is none."""

    ca: str
    server_certificate: str
    signing_request: str
    public_key: str
    """The public half of the node's key."""
    new_public_key: str
    """That of a key which waits for its certificate."""
    trusted: Mapping[str, str]
    """The CA certificates that the engine takes from a registry, by its address `host:port`."""
    htpasswd: str
    """Who the registry on this host lets in: names and hashes."""


class Tls(Part[TlsState]):
    """Reads `TlsState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "ca": f"cat {TLS_FOLDER}/ca.pem",
        "server_certificate": f"cat {TLS_FOLDER}/server-cert.pem",
        "signing_request": f"cat {TLS_FOLDER}/server.csr",
        "public_key": f"openssl pkey -in {TLS_FOLDER}/server-key.pem -pubout",
        # Without the first test openssl would start, on each run and for nothing.
        "new_public_key": f"cd {TLS_FOLDER} && test -e server-key.new && openssl pkey -in server-key.new -pubout",
        "trusted": f'for file in {CERTS_D}/*/ca.crt; do test -f $file && echo "# $file" && cat $file; done',
        "htpasswd": f"cat {HTPASSWD}",
    }

    def parse(self, found: Mapping[str, str]) -> TlsState:
        return TlsState(
            ca=found["ca"].strip(),
            server_certificate=found["server_certificate"].strip(),
            signing_request=found["signing_request"].strip(),
            public_key=found["public_key"].strip(),
            new_public_key=found["new_public_key"].strip(),
            trusted=_by_registry(found["trusted"]),
            htpasswd=found["htpasswd"],
        )


def _by_registry(text: str) -> Mapping[str, str]:
    """The files that the question `trusted` printed, each after a line with its path."""
    files = (part.partition("\n") for part in f"\n{text}".split("\n# ")[1:])
    return {path.split("/")[-2]: content.strip() for path, _, content in files}
