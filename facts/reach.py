"""Which of a cluster's other hosts a host reaches, and hears, on the swarm's ports."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from facts.swarm import GOSSIP_PORT, VXLAN_PORT

_SECONDS = 4.0
_PROBE = Path(__file__).with_name("reach_probe.py")


@dataclass(frozen=True)
class Peer:
    """Another host: where it is, and where overlay networks' packets are sent to."""

    address: str
    data_path_address: str
    tcp: tuple[int, ...]
    """Its ports that are to be tried."""

    def plan(self) -> dict[str, Any]:
        """As the probe wants it."""
        return {
            "address": self.address,
            "tcp": list(self.tcp),
            "udp": [[self.address, GOSSIP_PORT], [self.data_path_address, VXLAN_PORT]],
        }


@dataclass(frozen=True)
class Reached:
    """What one host found: names of others, and ports."""

    reached: frozenset[tuple[str, int]]
    """Over TCP, from this host."""
    heard: frozenset[tuple[str, int]]
    """Over UDP, by this host."""
    error: str = ""
    """Why it could not try."""


class Reach(FactBase[Reached]):
    """Tries it; all hosts have to be asked at the same moment. See reach_probe.py.

    None where the host has no Python.
    """

    def command(self, token: str, me: str, listen: Sequence[int], peers: Mapping[str, Peer]) -> str:
        plan = {
            "token": token,
            "me": me,
            "seconds": _SECONDS,
            "listen": list(listen),
            "peers": {name: peer.plan() for name, peer in peers.items()},
        }
        argv = ["python3", "-c", _PROBE.read_text(encoding="utf-8"), json.dumps(plan)]
        return f"if command -v python3 >/dev/null; then {shlex.join(argv)}; fi"

    def process(self, output: Iterable[str]) -> Reached:
        try:
            found: dict[str, Any] = json.loads("".join(output))
            return Reached(
                frozenset((str(name), int(port)) for name, port in found.get("reached", [])),
                frozenset((str(name), int(port)) for name, port in found.get("heard", [])),
                str(found.get("error", "")),
            )
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FactProcessError(f"reading Reach: {error!r}") from error
