"""A service's log, as the Engine API gives it with details: from which task and node each line is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

import docker
import requests
import urllib3
from paramiko import SSHException


@dataclass(frozen=True)
class Line:
    """One line of a task."""

    task: str
    """Its id, and that of its node; both empty where the manager itself says something, e.g. that a node is away."""
    node: str
    text: str

    @classmethod
    def parse(cls, line: str) -> Line:
        """Read `KEY=VALUE,KEY=VALUE TEXT`; source: Engine API, GET /services/(id)/logs with `details`."""
        head, _, text = line.partition(" ")
        pairs = (pair.partition("=") for pair in head.split(","))
        details = {unquote(key): unquote(value) for key, _, value in pairs}
        task = details.get("com.docker.swarm.task.id", "")
        return cls(task, details.get("com.docker.swarm.node.id", ""), text) if task else cls("", "", line)


def read(client: docker.DockerClient, service: str, tail: int, follow: bool = False) -> Iterator[Line]:
    """The last lines of each task, and with `follow` all that come.

    Args:
        service: its id or full name.
        tail: how many lines of each task to begin with.

    Raises:
        docker.errors.DockerException, requests.RequestException: the manager does not answer, or no longer.
    """
    rest = b""
    try:
        for chunk in client.api.service_logs(
            service, details=True, follow=follow, stdout=True, stderr=True, tail=str(tail)
        ):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (_line(line) for line in lines)
    except (urllib3.exceptions.HTTPError, struct.error, SSHException) as error:  # Docker's library lets them through
        raise requests.ConnectionError(f"its answer broke off: {error}") from error
    if rest:
        yield _line(rest)


def _line(data: bytes) -> Line:
    return Line.parse(data.decode(errors="replace").rstrip("\r"))
