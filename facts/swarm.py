"""What Docker Swarm says about a host, each fact one round trip."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

Role = Literal["manager", "worker"]


@dataclass(frozen=True)
class Membership:
    """One engine's place in a swarm; `node_id` is empty when it is in none."""

    state: str
    node_id: str
    role: Role

    @property
    def active(self) -> bool:
        """Whether the engine is in a swarm and takes part in it."""
        return self.state == "active"


class SwarmMembership(FactBase[Membership | None]):
    """The swarm part of `docker info`, or None where no engine runs.

    Source: Engine API, GET /info, field `Swarm`.
    """

    def command(self) -> str:
        # A dead engine would let the client wait; the unit says it at once.
        return "! systemctl is-active --quiet docker.service || docker info --format '{{json .Swarm}}'"

    def process(self, output: Iterable[str]) -> Membership | None:
        text = "".join(output)
        if not text:
            return None
        try:
            swarm = json.loads(text)
            return Membership(
                state=swarm["LocalNodeState"],
                node_id=swarm["NodeID"],
                role="manager" if swarm["ControlAvailable"] else "worker",
            )
        except (ValueError, KeyError) as error:
            raise FactProcessError(f"reading `docker info`: {error!r} in {text[:200]!r}") from error


@dataclass(frozen=True)
class SwarmNode:
    """One entry of a manager's list of nodes."""

    id: str
    hostname: str
    """Empty while its join is under way, or for ever where that was cut off."""
    address: str
    role: Role
    state: str
    labels: Mapping[str, str]


class SwarmNodes(FactBase[dict[str, SwarmNode]]):
    """The swarm's nodes by ID; only a manager answers, others give an empty mapping.

    Source: Engine API, GET /nodes.
    """

    def command(self) -> str:
        return (
            "! systemctl is-active --quiet docker.service || "
            "{ ids=$(docker node ls -q 2>/dev/null) && docker node inspect --format '{{json .}}' $ids; } || true"
        )

    @staticmethod
    def default() -> dict[str, SwarmNode]:
        return {}

    def process(self, output: Iterable[str]) -> dict[str, SwarmNode]:
        nodes = {}
        for line in output:
            try:
                node = json.loads(line)
                nodes[node["ID"]] = SwarmNode(
                    id=node["ID"],
                    hostname=node["Description"].get("Hostname", ""),
                    address=node["Status"].get("Addr", ""),
                    role=node["Spec"]["Role"],
                    state=node["Status"]["State"],
                    labels=node["Spec"].get("Labels") or {},
                )
            except (ValueError, KeyError, TypeError) as error:
                raise FactProcessError(f"reading `docker node inspect`: {error!r} in {line[:200]!r}") from error
        return nodes
