"""A client of an engine's API that trusts the cluster's CA and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

from docker import APIClient, DockerClient
from docker.errors import DockerException
from docker.tls import TLSConfig
from paramiko import SSHException

_TIMEOUT = 60
logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)  # it raises what it logs


class _OurCaOnly(TLSConfig):
    """TLS that the environment cannot bend.

    requests prefers REQUESTS_CA_BUNDLE to the CA that it was given (psf/requests#3829), and a proxy has
    no business between us and a Pi.
    """

    def configure_client(self, client: APIClient) -> None:
        super().configure_client(client)
        client.trust_env = False


def engine(url: str, certificates: Path | None) -> DockerClient:
    """A client of the engine at `url`, e.g. `tcp://192.168.1.11:2376`; it asks for the API's version at once.

    Args:
        certificates: a folder with Docker's `ca.pem`, `cert.pem` and `key.pem`; None for a local socket.

    Raises:
        docker.errors.DockerException: the engine does not answer.
    """
    tls = certificates and _OurCaOnly(
        ca_cert=str(certificates / "ca.pem"),
        client_cert=(str(certificates / "cert.pem"), str(certificates / "key.pem")),
        verify=True,
    )
    try:
        return DockerClient(base_url=url, tls=tls or False, version="auto", timeout=_TIMEOUT)
    except SSHException as error:  # Docker's library lets it through
        raise DockerException(f"ssh to {url}: {error}") from error
