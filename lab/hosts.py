"""A lab's nodes as pyinfra wants its hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyinfra.api.exceptions import PyinfraError
from pyinfra_cli.exceptions import CliError

from image.errors import UserError
from lab import keys, lifecycle
from lab.spec import DEFAULT_NAME, Lab

Host = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Groups:
    """Groups of an inventory."""

    managers: list[Host]
    workers: list[Host]


def groups(name: str) -> Groups:
    """Read the running lab: pi1 is the manager, the others are workers.

    Raises:
        CliError: there is no such lab, or it does not run (pyinfra shows only its own errors in one line).
    """
    try:
        lab = Lab.parse(name or DEFAULT_NAME)
        nodes = [node for node in lifecycle.status(lab) if node.state == "running"]
    except UserError as error:
        raise _shown(error) from None
    if not nodes or nodes[0].name != "pi1":
        raise _shown(UserError(f"lab {lab.name!r} does not run", f"LAB={lab.name} python -m lab up")) from None
    # On each host: data of a host wins over group_data/all.py, which is of the user's own cluster.
    common = _data(lab, monitor=nodes[1 if len(nodes) > 1 else 0].name)
    hosts = [(node.name, {**common, "address": node.address, "ssh_hostname": node.address}) for node in nodes]
    return Groups(hosts[:1], hosts[1:])


def _shown(error: UserError) -> PyinfraError:
    shown: PyinfraError = CliError(error.message)
    return shown


def _data(lab: Lab, monitor: str) -> dict[str, Any]:
    return {
        "cluster_name": lab.name,
        "ssh_user": "pi",
        "ssh_key": str(keys.key_path(lab)),
        "ssh_known_hosts_file": str(keys.known_hosts_path(lab)),
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
        "registry_node": "pi1",
        "prometheus_node": monitor,
    }
