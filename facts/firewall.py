"""Who a host lets in to the swarm's ports. One round trip."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

from facts.part import Part

TABLE = "inet pishelf"
RULES = "/etc/pishelf/firewall.nft"
UNIT = "pishelf-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
DROP_IN = "/etc/systemd/system/nftables.service.d/pishelf.conf"
# Written when the rules are loaded: a hash of the files, and of the table as the kernel has it, whose
# handles change with every edit.
SEAL = "/run/pishelf-firewall"
SEALED = f"{{ cat {RULES} {UNIT_FILE} {DROP_IN}; nft --handle --stateless list table {TABLE}; }} | sha256sum"

_TABLE_IS = (
    f"if {SEALED} | cmp --silent - {SEAL}; then echo as written;"
    f" elif nft list table {TABLE} >/dev/null; then echo otherwise; fi"
)
# sudo forgets it, but sudo itself was started with it.
_SSH_CONNECTION = (
    'echo "${SSH_CONNECTION:-$(tr "\\0" "\\n" </proc/$PPID/environ | sed --quiet "s/^SSH_CONNECTION=//p")}"'
)


@dataclass(frozen=True)
class Route:
    """A network that a host reaches without a router."""

    network: ipaddress.IPv4Network
    source: str
    """The host's own address on the way there; empty where the route leaves it open."""
    metric: int

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Read a line of `ip -4 route`, e.g. `192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.11`.

        None where a router is in between, or nothing is reached.
        """
        network, *words = line.split()
        said = dict(pairwise(words))
        if "via" in said or "dev" not in said or not network[0].isdigit():
            return None
        return cls(ipaddress.IPv4Network(network), said.get("src", ""), int(said.get("metric", "0")))


@dataclass(frozen=True)
class FirewallState:
    """The firewall of our own, and what has to be known to make one."""

    files: Mapping[str, str]
    """The content of `RULES`, `UNIT_FILE` and `DROP_IN`, each empty where there is none."""
    enabled: bool
    """Whether it is loaded at every start."""
    table: bool
    """Whether the kernel has the table, whatever is in it."""
    loaded: bool
    """Whether the table is what the files say."""
    controller: str
    """The address that this host sees the controller come from; empty where it cannot tell."""
    routes: tuple[Route, ...]

    def source_for(self, address: str) -> str:
        """The address from which this host talks to a neighbour; empty where it is not told."""
        route = self._route_to(address)
        return route.source if route else ""

    def network_of(self, address: str) -> str:
        """The network of this host's that `address` is in; empty where it is in none."""
        route = self._route_to(address)
        return str(route.network) if route else ""

    def _route_to(self, address: str) -> Route | None:
        to = [route for route in self.routes if ipaddress.IPv4Address(address) in route.network]
        return min(to, key=lambda route: (-route.network.prefixlen, route.metric), default=None)


class Firewall(Part[FirewallState]):
    """Reads `FirewallState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "rules": f"cat {RULES}",
        "unit": f"cat {UNIT_FILE}",
        "drop_in": f"cat {DROP_IN}",
        "enabled": f"test -e /etc/systemd/system/sysinit.target.wants/{UNIT} && echo yes",
        "table": _TABLE_IS,
        "controller": _SSH_CONNECTION,
        "routes": "ip -4 -o route show",
    }

    def parse(self, found: Mapping[str, str]) -> FirewallState:
        table = found["table"].strip()
        return FirewallState(
            files={
                RULES: found["rules"].strip(),
                UNIT_FILE: found["unit"].strip(),
                DROP_IN: found["drop_in"].strip(),
            },
            enabled=found["enabled"].strip() == "yes",
            table=bool(table),
            loaded=table == "as written",
            controller=found["controller"].partition(" ")[0].strip(),
            routes=tuple(route for line in found["routes"].splitlines() if (route := Route.parse(line))),
        )
