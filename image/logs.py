"""What the tasks of a service say, line by line, with their names and nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from difflib import get_close_matches
from urllib.parse import unquote

import docker
import requests

from image import watch
from image.cluster import Cluster
from image.errors import UserError, reason
from image.rollout import STACK

_NODE = "com.docker.swarm.node.id"
_TASK = "com.docker.swarm.task.id"


def show(cluster: Cluster, service: str, follow: bool, tail: int, say: Callable[[str], None]) -> None:
    """Print a service's log; with `follow`, until a person interrupts it.

    Args:
        service: its name, with the stack's or without.
        tail: how many lines of each task to begin with.

    Raises:
        UserError: the stack has no such service (with the nearest name), or the manager does not answer.
    """
    try:
        with closing(cluster.endpoint.client()) as client:
            snapshot = watch.read(client, STACK)
            found = named(snapshot, service)
            for line in _lines(client, found, follow, tail):
                if split(line)[0].get(_TASK) not in {task.id for task in snapshot.tasks}:
                    snapshot = watch.read(client, STACK)  # a task that is newer
                say(told(line, snapshot))
    except KeyboardInterrupt:
        return
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(
            f"the manager of {cluster.name} stopped answering: {reason(error)}", f"{cluster.docker} node ls"
        ) from error


def named(snapshot: watch.Snapshot, name: str) -> watch.Service:
    """The stack's service of this name; raises UserError with the nearest."""
    short = name.removeprefix(f"{STACK}_")
    found = snapshot.service(short)
    if found is None:
        known = [service.name for service in snapshot.services]
        near = get_close_matches(short, known, n=1)
        advice = " of ".join([*near, ", ".join(known)]) or "python -m image deploy"
        raise UserError(f"the stack has no service {name!r}", advice)
    return found


def told(line: str, snapshot: watch.Snapshot) -> str:
    """A line as the Engine API gives it with details, `KEY=VALUE,… text`, for a person: `web.1@pi2 | text`."""
    details, text = split(line)
    task = next((task for task in snapshot.tasks if task.id == details.get(_TASK)), None)
    service = next((one.name for one in snapshot.services if task and one.id == task.service), "?")
    slot = f".{task.slot}" if task and task.slot else ""
    return f"{service}{slot}@{snapshot.node_name(details.get(_NODE, ''))} | {text}"


def split(line: str) -> tuple[Mapping[str, str], str]:
    """A line's details and its text."""
    head, _, text = line.partition(" ")
    pairs = (pair.partition("=") for pair in head.split(","))
    return {unquote(key): unquote(value) for key, _, value in pairs}, text


def _lines(client: docker.DockerClient, service: watch.Service, follow: bool, tail: int) -> Iterator[str]:
    chunks = client.api.service_logs(service.id, details=True, follow=follow, stdout=True, stderr=True, tail=str(tail))
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in lines)
    if rest:
        yield rest.decode(errors="replace")
