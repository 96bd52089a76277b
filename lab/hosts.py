"""A lab's nodes as pyinfra wants its hosts."""

from __future__ import annotations

from typing import Any

from pyinfra.api.exceptions import InventoryError
from pyinfra_cli.exceptions import CliError

from image.errors import UserError
from lab import keys, lifecycle
from lab.spec import DEFAULT_NAME, Lab

Host = tuple[str, dict[str, Any]]


class NoLabError(InventoryError, CliError):  # type: ignore[misc] # pyinfra_cli carries no types
    """The inventory is empty, and why.

    Both kinds at once: while pyinfra reads an inventory it adds a traceback to all but its
    `PyinfraError`s, and prints one plain line for its `CliError`s only.
    """


def groups(name: str, managers: str = "") -> tuple[list[Host], list[Host]]:
    """Read the lab: its first nodes are managers (pi1 alone unless `managers` says how many).

    A node that is stopped is one of them, as a Pi without power is.

    Raises:
        NoLabError: there is no such lab, or none of its nodes runs, or `managers` is not a number.
    """
    if not (managers or "1").isdecimal():
        raise NoLabError(f"MANAGERS={managers} is not a number of nodes, e.g. MANAGERS=3")
    try:
        lab = Lab.parse(name or DEFAULT_NAME)
        found = lifecycle.status(lab)
    except UserError as error:
        raise NoLabError(error.message) from None
    if not lifecycle.runs(found):
        raise NoLabError(f"lab {lab.name!r} does not run\n  Try: LAB={lab.name} .venv/bin/python -m lab up")
    common = _common(lab, monitor="pi2" if len(found) > 1 else "pi1")
    hosts = [(node.name, common | {"address": node.address, "ssh_hostname": node.address}) for node in found]
    split = int(managers or 1)
    return hosts[:split], hosts[split:]


def _common(lab: Lab, monitor: str) -> dict[str, Any]:
    """Data of each host, and not of the group of all: what stands in group_data/ would win over that."""
    return {
        "cluster_name": lab.name,
        "ssh_user": "pi",
        "ssh_key": str(keys.key_path(lab)),
        "ssh_known_hosts_file": str(keys.known_hosts_path(lab)),
        "ssh_strict_host_key_checking": "yes",
        "registry_node": "pi1",
        "prometheus_node": monitor,
    }
