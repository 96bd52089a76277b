"""One virtual Pi: made, started, asked."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address
from time import monotonic, sleep
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from image.errors import UserError
from lab import engine
from lab.engine import Machine
from lab.spec import LABEL_CLONE, LABEL_LAB, Lab, Node

_HOME = "/home/pi"
_AUTHORIZED_KEYS = f"{_HOME}/.ssh/authorized_keys"
_USER_ID = 1000  # of `pi`, see node-setup.sh
_PATIENCE = 180.0  # seconds; a provisioned node on a small machine starts its engine too
_ASK = f"systemctl is-system-running; cat /etc/ssh/ssh_host_*_key.pub; echo --; cat {_AUTHORIZED_KEYS}"


@dataclass(frozen=True)
class Answers:
    """What a node says of itself, read in one round trip."""

    system: str
    host_keys: tuple[str, ...]
    authorized: tuple[str, ...]


def create(client: DockerClient, node: Node, image: str, machine: Machine, public_key: str) -> None:
    """Make a node, with the lab's key in it, and leave it stopped."""
    for name in node.volumes:
        _fresh_volume(client, node.lab, name)
    endpoint = client.api.create_endpoint_config(ipv4_address=str(node.address))
    try:
        client.api.create_container(
            image,
            name=node.container,
            hostname="raspberrypi",
            command=engine.command(machine),
            labels=node.lab.labels,
            stop_signal="SIGRTMIN+3",
            networking_config={"EndpointsConfig": {node.lab.name: endpoint}},
            host_config=engine.host_config(client, machine, node.volumes) | {"NetworkMode": node.lab.name},
        )
    except APIError as error:
        if error.status_code == 409:
            raise UserError(
                f"container {node.container} is there already and carries no label of lab {node.lab.name!r}",
                f"docker rm {node.container}, or another name: LAB=other make demo",
            ) from None
        raise
    authorize(client.containers.get(node.container), [public_key])


def _fresh_volume(client: DockerClient, lab: Lab, name: str) -> None:
    """Make an empty volume: what an earlier node of that name left must not come back."""
    try:
        old = client.volumes.get(name)
    except NotFound:
        pass
    else:
        if (old.attrs.get("Labels") or {}).get(LABEL_LAB) != lab.name:
            raise UserError(f"volume {name} is in the way and is not this lab's", f"docker volume rm {name}")
        old.remove()
    client.volumes.create(name, labels=lab.labels)


def authorize(container: Container, public_keys: Iterable[str]) -> None:
    """Let these keys, and no others, in as user pi."""
    content = "".join(f"{key}\n" for key in public_keys).encode("ascii")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo(".ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        file = tarfile.TarInfo(".ssh/authorized_keys")
        file.size, file.mode = len(content), 0o600
        for member in (folder, file):
            member.uid = member.gid = _USER_ID
        tar.addfile(folder)
        tar.addfile(file, io.BytesIO(content))
    container.put_archive(_HOME, archive.getvalue())


def start(container: Container) -> None:
    """Start a stopped node."""
    try:
        container.start()
    except APIError as error:
        raise UserError(
            f"starting {container.name}: {error.explanation}",
            f"docker start {container.name} for the engine's own words, or make clean to begin again",
        ) from None


def ask(container: Container) -> Answers:
    """Ask a running node; an empty `system` where it cannot say yet."""
    try:
        output = container.exec_run(["sh", "-c", _ASK], stderr=False).output
    except APIError:  # it stopped, or has just begun to start
        return Answers("", (), ())
    return parse_answers(b"".join([output] if isinstance(output, bytes) else output).decode(errors="replace"))


def parse_answers(text: str) -> Answers:
    """The output of `_ASK`: a word of systemd, host keys, `--`, authorized keys."""
    own, _, authorized = text.partition("\n--\n")
    system, *keys = own.splitlines() or [""]
    return Answers(
        system=system.strip(),
        host_keys=tuple(" ".join(key.split()[:2]) for key in keys if len(key.split()) >= 2),
        authorized=tuple(line for line in authorized.splitlines() if line.strip()),
    )


def wait(container: Container, address: IPv4Address) -> Answers:
    """Wait until systemd has started everything and ssh answers.

    Raises:
        UserError: it takes too long, or the node stopped.
    """
    end = monotonic() + _PATIENCE
    while True:
        answers = ask(container)
        # `degraded` = up, but a unit failed: whether that matters is not the lab's to say
        if answers.system in ("running", "degraded") and answers.host_keys and _ssh_answers(address):
            return answers
        if monotonic() > end:
            raise UserError(
                f"{container.name} ({address}) is not up after {_PATIENCE:.0f} s; "
                f"systemd says {answers.system or 'nothing'!r}",
                f"docker logs {container.name}; docker exec {container.name} systemctl list-jobs",
            )
        sleep(0.2)


def _ssh_answers(address: IPv4Address) -> bool:
    try:
        with closing(socket.create_connection((str(address), 22), timeout=2)) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def address_of(container: Container) -> IPv4Address:
    """The fixed address that the node was made with."""
    networks: dict[str, Any] = container.attrs["NetworkSettings"]["Networks"]
    for endpoint in networks.values():
        configured = (endpoint.get("IPAMConfig") or {}).get("IPv4Address") or endpoint.get("IPAddress")
        if configured:
            return IPv4Address(configured)
    raise UserError(f"{container.name} has no address: {json.dumps(networks)}", "make clean, then make demo")


def clone_of(labels: dict[str, str] | None) -> str:
    """The folder of the clone that made a thing."""
    return (labels or {}).get(LABEL_CLONE, "")
