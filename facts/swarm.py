"""What an engine says of itself and of its swarm."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from facts.part import Part

SWARM_PORT = 2377
# Source: docs.docker.com/engine/swarm/swarm-tutorial, "Open protocols and ports between the hosts".
GOSSIP_PORT = 7946
VXLAN_PORT = 4789  # it authenticates nobody

Role = Literal["manager", "worker"]
Availability = Literal["active", "pause", "drain"]

# The socket would start an engine that is stopped, and a dead one would let us wait: the unit says it at once.
RUNS = "systemctl is-active --quiet docker.service"
# What an engine remembers of how it joined; source: moby, daemon/cluster.
_STATE = "/var/lib/docker/swarm/docker-state.json"
# The engine's API without docker's command line, which takes a Pi a second of its processor's time.
ASK = "curl --silent --fail --max-time 20 --noproxy '*' --unix-socket /run/docker.sock http://engine"


@dataclass(frozen=True)
class Membership:
    """One engine's place in a swarm; `node_id` is empty when it is in none."""

    state: str
    """`inactive`, `pending`, `active`, `error` or `locked`."""
    node_id: str
    role: Role
    cluster_id: str = ""
    """The swarm's own ID; only a manager knows it."""
    managers: tuple[str, ...] = ()
    """Where it knows managers, `address:port`."""
    error: str = ""

    @property
    def active(self) -> bool:
        """Whether the engine is in a swarm and takes part in it."""
        return self.state == "active"

    @property
    def inside(self) -> bool:
        """Whether the engine belongs to a swarm, even if it cannot take part in it just now."""
        return self.state in ("active", "locked", "error", "pending")


@dataclass(frozen=True)
class SwarmNode:
    """One entry of a manager's list of nodes."""

    id: str
    hostname: str
    """Empty while its join is under way, or for ever where that was cut off."""
    address: str
    role: Role
    state: str
    availability: Availability = "active"
    reachable: bool = False
    """Whether it is a manager that the others reach."""
    leads: bool = False
    version: str = ""
    """Its engine's."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SwarmState:
    """What the engine on a host says; without a running one there is no membership."""

    membership: Membership | None
    version: str
    """The engine's own version, empty where none runs."""
    autolocked: bool
    """Whether managers of this swarm ask for a key after a restart; only a manager knows."""
    advertised: str
    """The address at which it told the swarm to find it when it joined; empty where it joined none."""
    data_path: str
    """The address for the overlay networks' traffic that it joined with; empty where that is the same."""
    nodes: Mapping[str, SwarmNode]
    """The swarm's nodes by ID; only a manager that has a quorum knows them."""


class Swarm(Part[SwarmState]):
    """Reads `SwarmState`. Source: Engine API, GET /info and GET /nodes."""

    questions: ClassVar[Mapping[str, str]] = {
        "info": f"{RUNS} && if command -v curl >/dev/null; then {ASK}/info;"
        " else docker info --format '{{json .}}'; fi",
        "joined_with": f"cat {_STATE}",
        "nodes": f"{RUNS} && test -s {_STATE}"
        f" && if command -v curl >/dev/null; then {ASK}/nodes;"
        " else docker node inspect $(docker node ls --quiet); fi",
    }

    def parse(self, found: Mapping[str, str]) -> SwarmState:
        info = _json(found["info"]) or {}
        swarm = info.get("Swarm") or {}
        cluster = swarm.get("Cluster") or {}
        encryption = (cluster.get("Spec") or {}).get("EncryptionConfig") or {}
        joined_with = _json(found["joined_with"]) or {}
        return SwarmState(
            advertised=_ipv4(joined_with.get("AdvertiseAddr")),
            data_path=_ipv4(joined_with.get("DataPathAddr")),
            membership=_membership(swarm) if swarm else None,
            version=str(info.get("ServerVersion", "")),
            autolocked=bool(encryption.get("AutoLockManagers")),
            nodes={str(node["ID"]): _node(node) for node in _json(found["nodes"]) or []},
        )


def _ipv4(said: object) -> str:
    """The address of `address` or `address:port`; empty where an interface's name stands there instead."""
    try:
        return str(ipaddress.IPv4Address(str(said).partition(":")[0]))
    except ValueError:
        return ""


def _json(text: str) -> Any:
    try:
        found = json.loads(text) if text.strip() else None
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if found is not None and not isinstance(found, dict | list):
        raise ValueError(f"not what the engine's API gives: {text[:100]!r}")
    return found


def _membership(swarm: Mapping[str, Any]) -> Membership:
    return Membership(
        state=swarm["LocalNodeState"],
        node_id=swarm["NodeID"],
        role="manager" if swarm["ControlAvailable"] else "worker",
        cluster_id=(swarm.get("Cluster") or {}).get("ID", ""),
        managers=tuple(sorted(manager.get("Addr", "") for manager in swarm.get("RemoteManagers") or [])),
        error=swarm.get("Error", ""),
    )


def _node(node: Mapping[str, Any]) -> SwarmNode:
    description, spec = node["Description"], node["Spec"]
    manager = node.get("ManagerStatus") or {}
    return SwarmNode(
        id=node["ID"],
        hostname=description.get("Hostname", ""),
        address=_address(node["Status"].get("Addr", ""), manager.get("Addr", "")),
        role=spec["Role"],
        state=node["Status"]["State"],
        availability=spec.get("Availability", "active"),
        reachable=manager.get("Reachability") == "reachable",
        leads=bool(manager.get("Leader")),
        version=(description.get("Engine") or {}).get("EngineVersion", ""),
        labels=spec.get("Labels") or {},
    )


def _address(seen: str, advertised: str) -> str:
    """Where a node is; a manager says 0.0.0.0 of itself before it has peers."""
    return seen if seen and seen != "0.0.0.0" else advertised.rpartition(":")[0]  # noqa: S104 - read, not bound
