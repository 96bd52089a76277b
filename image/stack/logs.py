"""What the tasks of a service say, line by line, with their names and nodes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches

import click

from image.cluster import Cluster
from image.errors import UserError
from image.stack import log_lines, watch
from image.stack.log_lines import Line
from image.stack.rollout import STACK


def show(cluster: Cluster, service: str, follow: bool, tail: int, say: Callable[[str], None]) -> None:
    """Print a service's log, the oldest line first; with `follow`, as it comes, until a person interrupts it.

    Args:
        service: its name, with the stack's or without.
        tail: how many lines of each task to begin with.

    Raises:
        UserError: the stack has no such service (with the nearest name), or the manager does not answer.
    """
    with cluster.manager() as client, suppress(KeyboardInterrupt):
        snapshot = watch.read(client, STACK)
        found = named(snapshot, service)
        lines = log_lines.read(client, found.id, tail, follow)
        silent = tail > 0
        for line in lines if follow else log_lines.in_order(lines):
            silent = False
            if line.task and line.task not in {task.id for task in snapshot.tasks}:
                snapshot = watch.read(client, STACK)  # a task that is newer
            say(told(line, snapshot))
        if silent and not follow:
            click.echo(f"nothing is logged of {found.name}", err=True)


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


def told(line: Line, snapshot: watch.Snapshot) -> str:
    """A line for a person: `web.1@pi2 | text`; what the manager says of nodes, with their names."""
    if not line.task:
        text = line.text
        for node in snapshot.nodes:
            text = text.replace(node.id, node.name)
        return f"the manager | {text}"
    task = next((task for task in snapshot.tasks if task.id == line.task), None)
    service = next((one.name for one in snapshot.services if task and one.id == task.service), "?")
    slot = f".{task.slot}" if task and task.slot else ""
    return f"{service}{slot}@{snapshot.node_name(line.node)} | {line.text}"
