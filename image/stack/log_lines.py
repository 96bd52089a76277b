"""A service's log, as the Engine API gives it with details: from which task and node each line is."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.parse import unquote

import docker
import requests
import urllib3
from paramiko import SSHException

# Source: moby, api/server/httputils/write_log_stream.go; always as long, so that texts sort as the times do.
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+Z) ")
_LAST = "~"  # after every time
_PAUSE = 2.0  # seconds


@dataclass(frozen=True)
class Line:
    """One line of a task."""

    task: str
    """Its id, and that of its node; both empty where the manager itself says something, e.g. that a node is away."""
    node: str
    text: str
    time: str = ""
    """When its node took it, as `2026-01-02T03:04:05.678901234Z`; empty where it is not told."""

    @classmethod
    def parse(cls, line: str) -> Line:
        """Read `TIME KEY=VALUE,KEY=VALUE TEXT`.

        Source: Engine API, GET /services/(id)/logs with `timestamps` and `details`.
        """
        time = _TIME.match(line)
        head, _, text = line[time.end() if time else 0 :].partition(" ")
        pairs = (pair.partition("=") for pair in head.split(","))
        details = {unquote(key): unquote(value) for key, _, value in pairs}
        task = details.get("com.docker.swarm.task.id", "")
        node = details.get("com.docker.swarm.node.id", "")
        return cls(task, node, text, time[1] if time else "") if task else cls("", "", line)


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
            service, details=True, timestamps=True, follow=follow, stdout=True, stderr=True, tail=str(tail)
        ):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (_line(line) for line in lines)
    except (urllib3.exceptions.HTTPError, struct.error, SSHException) as error:  # Docker's library lets them through
        raise requests.ConnectionError(f"its answer broke off: {error}") from error
    if rest:
        yield _line(rest)


def in_order(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines by time; the manager gives task after task, and not the oldest first.

    It may wait for a node that is gone (docker/cli#4678): what has come until a pause is not kept back. Raises as
    `read`.
    """
    came: SimpleQueue[Line | Exception | None] = SimpleQueue()

    def listen() -> None:
        try:
            for line in lines:
                came.put(line)
        except (docker.errors.DockerException, requests.RequestException) as error:
            came.put(error)
        finally:
            came.put(None)

    Thread(target=listen, daemon=True).start()
    found: list[Line] = []
    while True:
        try:
            one = came.get(timeout=_PAUSE if found else None)
        except Empty:
            yield from _by_time(found)
            found = []
            continue
        if not isinstance(one, Line):
            yield from _by_time(found)
            if one:
                raise one
            return
        found.append(one)


def _by_time(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.time or _LAST)


def _line(data: bytes) -> Line:
    return Line.parse(data.decode(errors="replace").rstrip("\r"))
