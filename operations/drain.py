"""How a node's work moves to other nodes before the node stops, and how it comes back."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from pyinfra.api import Host

from facts.swarm import Availability
from operations.api import EngineApi, EngineError

T = TypeVar("T")

PATIENCE = 120.0  # seconds
# A manager that lost its leader a moment ago, or whose answer somebody else overtook, answers well soon after.
_TRIES = 15
_WANTED = {"desired-state": ["running"]}
# Of a task: it has been given to a node and has not ended there. Source: Engine API, TaskState.
_THERE = frozenset(["assigned", "accepted", "preparing", "ready", "starting", "running"])


def update(manager: Host, node_id: str, changes: Mapping[str, object]) -> None:
    """Change a node's specification, e.g. `{"Availability": "drain"}`; what is not named stays.

    Raises:
        ValueError: the manager refuses, also when asked again.
    """
    api = EngineApi(manager)

    def once() -> None:
        found = api.get(f"/nodes/{node_id}")
        api.post(f"/nodes/{node_id}/update?version={found['Version']['Index']}", found["Spec"] | changes)

    insist(once)


def insist(ask: Callable[[], T]) -> T:
    """Ask a manager, and again for some seconds while it and the others choose a leader.

    Raises:
        EngineError: it does not answer in that time, or what was asked for does not exist.
    """
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except EngineError as error:
            if "not found" in str(error):
                raise
            time.sleep(1)
    return ask()


def set_availability(manager: Host, node_id: str, availability: Availability) -> Availability:
    """Let the swarm give a node work, or not; what it was before. Raises as `update`."""
    before: Availability = insist(lambda: EngineApi(manager).get(f"/nodes/{node_id}"))["Spec"]["Availability"]
    if before != availability:
        update(manager, node_id, {"Availability": availability})
    return before


def drain(manager: Host, node_id: str, patience: float = PATIENCE) -> tuple[str, ...]:
    """Have a node's tasks run elsewhere, as far as they can: the names of the services that do not.

    Args:
        manager: through which to say so.
        patience: seconds for the tasks to end here and to start elsewhere.

    Raises:
        ValueError: the manager refuses.
    """
    here = {task["ServiceID"] for task in _tasks(manager, {"node": [node_id]}) if _there(task)}
    running = Counter(task["ServiceID"] for task in _tasks(manager, _WANTED) if _runs(task))
    set_availability(manager, node_id, "drain")
    return await_elsewhere(manager, node_id, {service: running[service] for service in here}, patience)


def await_elsewhere(
    manager: Host, node_id: str, services: Mapping[str, int], patience: float = PATIENCE
) -> tuple[str, ...]:
    """Wait until a drained node runs no task any more, and its services run without it.

    What the scheduler finds no other node for is not waited for, nor what runs once on each node. Gives the names of
    the services that do not run as they should, for one of these reasons or for want of time. Raises as `drain`.

    Args:
        services: how many tasks have to run elsewhere, by the service's ID.
    """
    end = time.monotonic() + patience
    names = _replicated(manager) if services else {}
    while True:
        tasks = [task for task in _tasks(manager, _WANTED) if task.get("NodeID") != node_id]
        running = Counter(task["ServiceID"] for task in tasks if _runs(task))
        stuck = Counter(task["ServiceID"] for task in tasks if _is_stuck(task))
        missing = [service for service in names.keys() & services.keys() if running[service] < services[service]]
        hopeful = any(running[service] + stuck[service] < services[service] for service in missing)
        busy = any(_there(task) for task in _tasks(manager, {"node": [node_id]}))
        if time.monotonic() > end or not (busy or hopeful):
            return tuple(sorted(names[service] for service in missing))
        time.sleep(1)


def await_ready(manager: Host, *node_ids: str, patience: float = PATIENCE) -> None:
    """Wait until these nodes are Ready and, as far as they are managers, reachable for the others.

    Raises:
        ValueError: one is not, in that time.
    """
    end = time.monotonic() + patience
    while objection := _not_ready(manager, node_ids):
        if time.monotonic() > end:
            raise ValueError(f"after {patience:.0f} s, {manager.name} says: {objection}")
        time.sleep(1)


def _not_ready(manager: Host, node_ids: Sequence[str]) -> str:
    """The first of these nodes that is not what it should be, and what it is; empty if there is none."""
    try:
        nodes = {node["ID"]: node for node in EngineApi(manager).get("/nodes")}
    except EngineError as error:  # it starts itself, or the managers are still choosing a leader
        return str(error)
    for node_id in node_ids:
        if (node := nodes.get(node_id)) is None:
            return f"it knows no node {node_id}"
        name, state = node["Description"].get("Hostname") or node_id, node["Status"]["State"]
        if state != "ready":
            return f"{name} is {state}"
        if (node.get("ManagerStatus") or {}).get("Reachability", "reachable") != "reachable":
            return f"{name} is ready, but not reachable as a manager"
    return ""


def _replicated(manager: Host) -> dict[str, str]:
    """The names, by ID, of the services that may run on any node."""
    services = insist(lambda: EngineApi(manager).get("/services"))
    return {service["ID"]: service["Spec"]["Name"] for service in services if "Replicated" in service["Spec"]["Mode"]}


def _tasks(manager: Host, filters: Mapping[str, Sequence[str]]) -> list[Any]:
    """The services' tasks that these filters leave."""
    query = quote(json.dumps(filters, separators=(",", ":")))
    tasks: list[Any] = insist(lambda: EngineApi(manager).get(f"/tasks?filters={query}"))
    return [task for task in tasks if task.get("ServiceID")]


def _there(task: Mapping[str, Any]) -> bool:
    return task["Status"]["State"] in _THERE


def _runs(task: Mapping[str, Any]) -> bool:
    return bool(task["Status"]["State"] == "running")


def _is_stuck(task: Mapping[str, Any]) -> bool:
    """Whether the scheduler has looked and says that no node will do."""
    return task["Status"]["State"] == "pending" and bool(task["Status"].get("Err"))
