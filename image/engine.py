"""Questions to an engine's API, without Docker's library: importing that takes longer than a run with nothing to do.

Source: Docker Engine API.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import requests

from image.errors import reason

_CONNECT = 5  # seconds
_TIMEOUT = 60
_TCP = "tcp://"


class EngineError(Exception):
    """An engine does not answer, or answers with an error; with its words."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP's; None where there was no answer."""


def get(host: str, tls: Path | None, path: str) -> Any:
    """What the engine answers, read from JSON.

    Args:
        host: where it listens, as in DOCKER_HOST.
        tls: a folder with Docker's own file names; None where it needs none.
        path: from the root on, without a version: the engine then takes its own.

    Raises:
        EngineError
    """
    try:
        answer = _over_tcp(host, tls, path) if host.startswith(_TCP) else _by_the_library(host, path)
    except (requests.RequestException, OSError) as error:
        raise EngineError(reason(error)) from error
    if not answer.ok:
        raise EngineError(_words(answer), answer.status_code)
    try:
        return answer.json()
    except ValueError as error:
        kind = answer.headers.get("Content-Type", "no type")
        raise EngineError(f"what answers is no engine: {kind}, not JSON", answer.status_code) from error


def _over_tcp(host: str, tls: Path | None, path: str) -> requests.Response:
    with requests.Session() as session:
        # The environment has no say in which CA is trusted (psf/requests#3829), nor any proxy.
        session.trust_env = False
        if tls:
            session.verify = str(tls / "ca.pem")
            session.cert = (str(tls / "cert.pem"), str(tls / "key.pem"))
        scheme = "https" if tls else "http"
        return session.get(f"{scheme}://{host.removeprefix(_TCP)}{path}", timeout=(_CONNECT, _TIMEOUT))


def _by_the_library(host: str, path: str) -> requests.Response:
    """Through a socket or ssh, which only Docker's library knows."""
    from docker.errors import DockerException
    from paramiko import SSHException

    from pki.client import engine

    try:
        with closing(engine(host, None)) as client:
            answer: requests.Response = client.api.get(f"{client.api.base_url}{path}", timeout=(_CONNECT, _TIMEOUT))
            return answer
    except (DockerException, SSHException) as error:
        raise EngineError(reason(error)) from error


def _words(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason}"
