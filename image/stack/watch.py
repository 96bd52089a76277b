"""Whether a stack runs what it was told to run.

`docker stack deploy` ends well while services still roll back or cannot start, so this module looks at
services and tasks itself. The core, `judge`, is a function of values; `read` and `watch` are thin.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import docker
import requests

from image.cluster import Node
from image.errors import UserError
from image.stack import log_lines
from image.stack.rollout import NAMESPACE_LABEL

# Source: Engine API, GET /tasks, Status.State. Tasks walk through the states of _ON_THE_WAY to `running`.
_ON_THE_WAY = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting")
_FAILED = frozenset({"failed", "rejected", "orphaned"})
# Source: Engine API, GET /services, UpdateStatus.State.
_UPDATE_DONE = frozenset({"", "completed"})
_UPDATE_FAILED = frozenset({"paused", "rollback_started", "rollback_paused", "rollback_completed"})
# A task may fail once for a passing reason (a port that its predecessor still holds, a registry that
# restarts); the swarm starts it again. The third failure in one place is a verdict.
_FAILURES_TOLERATED = 2
# How long all must run before it counts: a program that ends at once was `running` for a moment, too.
_SETTLE = 3.0
# Once one has failed, longer: it may be one that fails a few seconds after each start.
_DOUBT = 20.0
_RECENT = 60.0
_POLL = 0.7
_LOG_LINES = 5
# A manager's answer need not end: it waits for each node that had a task, also for one that vanished (docker/cli#4678).
_LISTEN = 10.0

Phase = Literal["waiting", "converged", "failed"]


@dataclass(frozen=True)
class Service:
    """One service of a stack, as it should be."""

    id: str
    name: str
    spec: str
    """All of it, as one line of JSON; equal lines are equal services."""
    template: str
    """The part of it that tasks are made from, likewise, but where they may run."""
    replicas: int | None = None
    """None for a global service: one task on each eligible node."""
    constraints: tuple[str, ...] = ()
    update: str = ""
    update_message: str = ""
    ports: tuple[tuple[int, str], ...] = ()
    """Published ports and their mode, `ingress` or `host`."""

    @classmethod
    def of(cls, attrs: Mapping[str, Any], stack: str) -> Service:
        """Read one entry of the Engine API's GET /services."""
        spec = attrs["Spec"]
        mode, template = spec["Mode"], spec["TaskTemplate"]
        status = attrs.get("UpdateStatus") or {}
        ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
        return cls(
            id=attrs["ID"],
            name=spec["Name"].removeprefix(f"{stack}_"),
            spec=_line(spec),
            template=_program(template),
            replicas=mode["Replicated"].get("Replicas", 1) if "Replicated" in mode else None,
            constraints=tuple((template.get("Placement") or {}).get("Constraints") or ()),
            update=status.get("State", ""),
            update_message=status.get("Message", ""),
            ports=tuple((port["PublishedPort"], port["PublishMode"]) for port in ports if "PublishedPort" in port),
        )


@dataclass(frozen=True)
class Task:
    """One attempt of the swarm to run a service somewhere."""

    id: str
    service: str
    state: str
    desired: str
    template: str
    node: str = ""
    slot: int = 0
    error: str = ""
    when: float = 0.0
    """Since when it is in its state, in seconds since 1970."""

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Task:
        """Read one entry of the Engine API's GET /tasks."""
        status = attrs["Status"]
        return cls(
            id=attrs["ID"],
            service=attrs["ServiceID"],
            state=status["State"],
            desired=attrs["DesiredState"],
            template=_program(attrs["Spec"]),
            node=attrs.get("NodeID", ""),
            slot=attrs.get("Slot", 0),
            error=status.get("Err", ""),
            when=datetime.fromisoformat(status["Timestamp"]).timestamp() if "Timestamp" in status else 0.0,
        )

    @property
    def place(self) -> tuple[str, str | int]:
        """What the swarm fills with one task at a time: a slot, or for a global service a node."""
        return self.service, self.slot or self.node


@dataclass(frozen=True)
class Snapshot:
    """A stack at one moment."""

    services: tuple[Service, ...]
    tasks: tuple[Task, ...]
    nodes: tuple[Node, ...]

    def node_name(self, node_id: str) -> str:
        """The node's name, or a word that says that there is none yet."""
        return next((node.name for node in self.nodes if node.id == node_id), node_id or "no node")

    def service(self, name: str) -> Service | None:
        """The service of this name, without the stack's."""
        return next((service for service in self.services if service.name == name), None)

    def running(self, service: Service) -> tuple[Task, ...]:
        """The tasks that run the service as it is specified now."""
        refused = {node.id for node in self.nodes if not _meets_all(node, service)}
        return tuple(
            task
            for task in self.tasks
            if task.service == service.id
            and task.state == task.desired == "running"
            and task.template == service.template
            and task.node not in refused
        )

    @property
    def specs(self) -> dict[str, str]:
        """Name and specification of every service: equal dictionaries are equal stacks."""
        return {service.name: service.spec for service in self.services}


@dataclass(frozen=True)
class Progress:
    """How far one service is."""

    name: str
    phase: Phase
    running: int
    wanted: int
    detail: str = ""
    failures: tuple[str, ...] = field(default=(), compare=False)
    failed_tasks: tuple[str, ...] = field(default=(), compare=False)
    """For each of these sentences the id of a task that it is said of."""

    def __str__(self) -> str:
        return f"{self.name} {self.running}/{self.wanted}" + (f" {self.detail}" if self.detail else "")


def read(client: docker.DockerClient, stack: str) -> Snapshot:
    """Ask a manager for a stack's services and tasks, and for the swarm's nodes."""
    ours = {"label": f"{NAMESPACE_LABEL}={stack}"}
    services = (Service.of(attrs, stack) for attrs in client.api.services(filters=ours))  # type: ignore[no-untyped-call]
    tasks = tuple(Task.of(attrs) for attrs in client.api.tasks(filters=ours))  # type: ignore[no-untyped-call]
    nodes = Node.all(client.api.nodes())
    return Snapshot(tuple(sorted(services, key=lambda service: service.name)), tasks, nodes)


def past(snapshot: Snapshot, now: float) -> set[str]:
    """The ids of tasks whose failures say nothing of the present: they are older than a minute."""
    return {task.id for task in snapshot.tasks if task.state in _FAILED and task.when < now - _RECENT}


def judge(snapshot: Snapshot, known: Collection[str] = ()) -> tuple[Progress, ...]:
    """Say for each service whether it has converged, still may, or will not.

    Args:
        known: the ids of tasks that were there before; their failures are history.
    """
    return tuple(_judge(snapshot, service, known) for service in snapshot.services)


def _judge(snapshot: Snapshot, service: Service, known: Collection[str]) -> Progress:
    tasks = [task for task in snapshot.tasks if task.service == service.id]
    wanted = service.replicas if service.replicas is not None else len(eligible(snapshot.nodes, service))
    running = snapshot.running(service)
    # An old task counts until its node says that it ended; a node that is away cannot say so.
    ready = {node.id for node in snapshot.nodes if node.ready}
    leftover = [task for task in tasks if task.desired == "running" and task not in running and task.node in ready]
    failed = [task for task in tasks if task.state in _FAILED and task.id not in known]
    failures = {_sentence(snapshot, service, task): task.id for task in failed}

    def progress(phase: Phase, detail: str = "") -> Progress:
        return Progress(service.name, phase, len(running), wanted, detail, tuple(failures), tuple(failures.values()))

    if service.update in _UPDATE_FAILED:
        return progress("failed", f"{service.update.replace('_', ' ')}: {service.update_message}")
    current = Counter(task.place for task in failed if task.template == service.template)
    if current and max(current.values()) > _FAILURES_TOLERATED:
        return progress("failed", list(failures)[-1])
    if len(running) >= wanted and not leftover and service.update in _UPDATE_DONE:
        return progress("converged")
    return progress("waiting", _waiting_for(snapshot, tasks, service))


def _waiting_for(snapshot: Snapshot, tasks: list[Task], service: Service) -> str:
    """The tasks that are on their way, e.g. `preparing on pi2`; else what the update does."""
    coming = [task for task in tasks if task.desired in ("running", "ready") and task.state in _ON_THE_WAY]
    words = []
    for task in coming:
        where = f" on {snapshot.node_name(task.node)}" if task.node else ""
        words.append(f"{task.state}{where}" + (f" ({task.error})" if task.error else ""))
    return ", ".join(sorted(set(words))) or service.update or "waiting for tasks"


def _sentence(snapshot: Snapshot, service: Service, task: Task) -> str:
    return f"{service.name} on {snapshot.node_name(task.node)}: {task.state}: {task.error or 'no reason given'}"


def eligible(nodes: Collection[Node], service: Service) -> tuple[Node, ...]:
    """The nodes that take tasks and meet the service's constraints."""
    return tuple(node for node in nodes if node.ready and _meets_all(node, service))


def _meets_all(node: Node, service: Service) -> bool:
    return all(meets(node, text) for text in service.constraints)


def meets(node: Node, constraint: str) -> bool:
    """Whether a node meets `key==value` or `key!=value`; of keys that the API tells nothing about, yes."""
    equal = "!=" not in constraint
    key, _, value = (part.strip() for part in constraint.partition("==" if equal else "!="))
    if key.startswith("node.labels."):
        actual = node.labels.get(key.removeprefix("node.labels."), "")
    else:
        own = {"node.id": node.id, "node.hostname": node.name, "node.role": node.role}
        if key not in own:
            return True
        actual = own[key]
    # The swarm compares without regard to case.
    return (actual.casefold() == value.casefold()) == equal


def converged(progress: Collection[Progress]) -> bool:
    """Whether every service runs as it should; a stack without services does not."""
    return bool(progress) and all(one.phase == "converged" for one in progress)


def watch(
    client: docker.DockerClient,
    stack: str,
    known: Collection[str],
    timeout: float,
    show: Callable[[tuple[Progress, ...]], None],
    command: str = "python -m image",
) -> None:
    """Return when the whole stack has converged and stays so for a moment.

    Args:
        known: the ids of tasks that were there before the deploy.
        timeout: seconds.
        show: called after each look.
        command: how a person begins a command for this swarm; for the advice in errors.

    Raises:
        UserError: a service rolled back, paused, or fails again and again; or time is up.
    """
    end = time.monotonic() + timeout
    since: float | None = None
    before: frozenset[str] = frozenset()
    while True:
        snapshot = _patient_read(client, stack, end)
        progress = judge(snapshot, known)
        show(progress)
        failed = [one for one in progress if one.phase == "failed"]
        if failed:
            raise UserError(_report("the stack did not converge", failed, client, stack), _fix(command, failed))
        now = time.monotonic()
        tasks = frozenset(task.id for service in snapshot.services for task in snapshot.running(service))
        if not converged(progress):
            since = None
        elif since is None or tasks != before:
            since, before = now, tasks
        elif now - since >= (_DOUBT if any(one.failures for one in progress) else _SETTLE):
            return
        if now >= end:
            late = [one for one in progress if one.phase != "converged"]
            what = f"the stack did not converge within {timeout:.0f} s"
            raise UserError(_report(what, late, client, stack), _fix(command, late))
        time.sleep(_POLL)


def _patient_read(client: docker.DockerClient, stack: str, end: float) -> Snapshot:
    """Read; a manager that restarts is asked again until the time is up."""
    while True:
        try:
            return read(client, stack)
        except (docker.errors.DockerException, requests.RequestException) as error:
            if time.monotonic() >= end:
                raise UserError(f"the manager stopped answering: {error}", "docker node ls") from error
        time.sleep(_POLL)


def _report(what: str, services: list[Progress], client: docker.DockerClient, stack: str) -> str:
    """What failed, where and why; then each service's last words."""
    lines = [what]
    for service in services:
        lines.append(f"  {service}")
        words = _last_words(client, f"{stack}_{service.name}") if service.failures else {}
        for failure, task in zip(service.failures, service.failed_tasks, strict=True):
            lines += [f"    {failure}"] if failure != service.detail else []
            lines += [f"      log: {line}" for line in words.get(task, ())]
    return "\n".join(lines)


def _fix(command: str, services: list[Progress]) -> str:
    logs = f"{command} logs {services[0].name}; " if services else ""
    return f"{logs}{command} status; or {command} rollback, to what ran before"


def _last_words(client: docker.DockerClient, service: str) -> dict[str, list[str]]:
    """By task the last lines that it logged, without what a terminal would make of them; what comes in time."""
    words: dict[str, list[str]] = {}

    def listen() -> None:
        with suppress(docker.errors.DockerException, requests.RequestException):  # the tasks' own errors are told
            for line in log_lines.read(client, service, _LOG_LINES):
                if text := "".join(filter(str.isprintable, line.text)):
                    words[line.task] = [*words.get(line.task, ()), text]

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    listening.join(_LISTEN)
    return words.copy()


def _program(template: Mapping[str, Any]) -> str:
    """What a task runs.

    Not where it may (Placement): the swarm keeps a task that meets the new constraints as it is. Nor what
    kind of task it is (Runtime), which the API tells of services only.
    """
    return _line({key: value for key, value in template.items() if key not in ("Placement", "Runtime")})


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
