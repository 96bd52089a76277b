"""How the stack is at this moment: services, their tasks, the nodes; one glance."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click
import docker

from image.cluster import Cluster, Node
from image.columns import aligned
from image.errors import UserError
from image.registry.reference import shortened
from image.stack import history, watch
from image.stack.rollout import NAMESPACE_LABEL, STACK
from image.terminal import lively

Phase = watch.Phase
Rows = list[tuple[str, ...]]


@dataclass(frozen=True)
class ServiceState:
    """One service of the stack."""

    name: str
    phase: Phase
    running: int
    wanted: int
    version: str
    """The image's tag where a revision tells it, else what says most of its reference."""
    reference: str
    ports: str
    detail: str


@dataclass(frozen=True)
class TaskState:
    """What last filled a service's slot, or its place on a node."""

    service: str
    slot: int
    """0 for a service that is on each node."""
    node: str
    state: str
    version: str
    error: str
    """Why it is not running; or of one that waits, why the one before it ended."""


@dataclass(frozen=True)
class NodeState:
    """One node of the swarm, whatever it is doing."""

    name: str
    role: str
    state: str
    availability: str
    platform: str
    address: str
    tasks: int


@dataclass(frozen=True)
class Status:
    """All of it."""

    services: tuple[ServiceState, ...]
    tasks: tuple[TaskState, ...]
    nodes: tuple[NodeState, ...]

    @property
    def ok(self) -> bool:
        """Whether the stack is there, each service runs as it should, and each node is ready."""
        well = all(one.phase == "converged" for one in self.services)
        return bool(self.services) and well and all(node.state == "ready" for node in self.nodes)

    def check(self, cluster: Cluster) -> None:
        """Raise UserError unless it is ok, with what is not as it should be and where to look."""
        if self.ok:
            return
        late = [one.name for one in self.services if one.phase != "converged"]
        away = [node.name for node in self.nodes if node.state != "ready"]
        what = [f"not as it should be: {', '.join(late)}"] if late else []
        fix = [f"{cluster.docker} service ps --no-trunc {STACK}_{late[0]}"] if late else []
        if not self.services:
            what, fix = ["the stack is not deployed"], [f"{cluster.command} deploy"]
        if away:
            what.append(f"not ready: {', '.join(away)}")
            fix.append(f"the power and the network of {away[0]}, then pyinfra inventory.py deploys/doctor.py")
        raise UserError("; ".join(what), "; ".join(fix))

    @property
    def tables(self) -> tuple[Rows, ...]:
        """Services, tasks and nodes as rows of text, the first of each is its head."""
        services: Rows = [("SERVICE", "RUNNING", "VERSION", "PORTS", "STATE")]
        services += [
            (one.name, f"{one.running}/{one.wanted}", one.version, one.ports, one.detail or one.phase)
            for one in self.services
        ]
        tasks: Rows = [("TASK", "NODE", "STATE", "VERSION", "ERROR")]
        tasks += [
            (f"{one.service}.{one.slot}" if one.slot else one.service, one.node, one.state, one.version, one.error)
            for one in self.tasks
        ]
        nodes: Rows = [("NODE", "ROLE", "STATE", "AVAILABILITY", "PLATFORM", "ADDRESS", "TASKS")]
        nodes += [
            (one.name, one.role, one.state, one.availability, one.platform, one.address, str(one.tasks))
            for one in self.nodes
        ]
        return services, tasks, nodes


def read(client: docker.DockerClient) -> Status:
    """Ask a manager; raises docker's errors."""
    ours = {"label": f"{NAMESPACE_LABEL}={STACK}"}
    tags = {reference: tag for one in history.read(client) for reference, tag in one.rollout.tags.items()}
    return of(
        client.api.services(filters=ours),  # type: ignore[no-untyped-call]
        client.api.tasks(filters=ours),  # type: ignore[no-untyped-call]
        client.api.nodes(),
        tags,
        time.time(),
    )


def of(
    services: Iterable[Mapping[str, Any]],
    tasks: Iterable[Mapping[str, Any]],
    nodes: Iterable[Mapping[str, Any]],
    tags: Mapping[str, str],
    now: float,
) -> Status:
    """Put together what the Engine API's GET /services, /tasks and /nodes say.

    Args:
        tags: reference by digest -> the image's tag.
        now: in seconds since 1970.
    """
    services = sorted(services, key=lambda attrs: str(attrs["Spec"]["Name"]))
    tasks, nodes = list(tasks), list(nodes)
    snapshot = watch.Snapshot(
        tuple(watch.Service.of(attrs, STACK) for attrs in services),
        tuple(watch.Task.of(attrs) for attrs in tasks),
        Node.all(nodes),
    )
    progress = {one.name: one for one in watch.judge(snapshot, watch.past(snapshot, now))}
    images = {attrs["ID"]: attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] for attrs in services}
    return Status(
        tuple(_service(one, progress[one.name], images[one.id], tags) for one in snapshot.services),
        tuple(task for one in snapshot.services for task in _tasks(one, tasks, snapshot, tags)),
        tuple(_node(attrs, snapshot) for attrs in sorted(nodes, key=_hostname)),
    )


def lines(status: Status) -> list[str]:
    """For anything but a terminal."""
    said = []
    for rows in status.tables:
        said += [*aligned(rows), ""]
    return said[:-1]


def show(status: Status) -> None:
    """To standard output: tables with colours on a terminal, plain lines elsewhere."""
    if not lively(sys.stdout):
        click.echo("\n".join(lines(status)))
        return
    from rich import box  # a quarter of the time that `--help` takes
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for head, *rows in status.tables:
        table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
        console.print(table)
        console.print()


_STYLES = {
    **dict.fromkeys(("converged", "running", "ready", "active"), "green"),
    **dict.fromkeys(("failed", "rejected", "down", "drain", "pause"), "red"),
}


def _service(service: watch.Service, progress: watch.Progress, reference: str, tags: Mapping[str, str]) -> ServiceState:
    ports = " ".join(f"{number}/{mode}" for number, mode in service.ports)
    version = tags.get(reference) or shortened(reference)
    return ServiceState(
        service.name,
        progress.phase,
        progress.running,
        progress.wanted,
        version,
        reference,
        ports,
        progress.detail,
    )


def _tasks(
    service: watch.Service,
    tasks: Iterable[Mapping[str, Any]],
    snapshot: watch.Snapshot,
    tags: Mapping[str, str],
) -> list[TaskState]:
    """The newest task of each place, by place; of a place that is given up none."""
    found: dict[tuple[str, str | int], tuple[watch.Task, str]] = {}
    errors: dict[tuple[str, str | int], str] = {}
    for attrs in sorted(tasks, key=lambda attrs: str(attrs["CreatedAt"])):
        task = watch.Task.of(attrs)
        if task.service == service.id:
            found[task.place] = task, attrs["Spec"]["ContainerSpec"]["Image"]
            errors[task.place] = task.error or errors.get(task.place, "")
    states = []
    for place, (task, reference) in found.items():
        if task.desired in ("running", "ready"):
            node = snapshot.node_name(task.node)
            error = "" if task.state == "running" else errors[place]
            version = tags.get(reference) or shortened(reference)
            states.append(TaskState(service.name, task.slot, node, task.state, version, error))
    return sorted(states, key=lambda task: (task.slot, task.node))


def _hostname(attrs: Mapping[str, Any]) -> str:
    return str(attrs.get("Description", {}).get("Hostname", ""))


def _node(attrs: Mapping[str, Any], snapshot: watch.Snapshot) -> NodeState:
    known = next((node for node in snapshot.nodes if node.id == attrs["ID"]), None)
    leads = attrs.get("ManagerStatus", {}).get("Leader", False)
    return NodeState(
        name=_hostname(attrs) or attrs["ID"],
        role="leader" if leads else attrs["Spec"]["Role"],
        state=attrs["Status"]["State"],
        availability=attrs["Spec"]["Availability"],
        platform=str(known.platform) if known else "unknown",
        address=known.address if known else "",
        # Of a node that is away the last word was that they run.
        tasks=sum(task.node == attrs["ID"] and task.state == task.desired == "running" for task in snapshot.tasks),
    )
