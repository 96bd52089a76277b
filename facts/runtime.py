"""What a running engine says of its storage, its networks and the ports that it opens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from facts.engine import TLS_FOLDER
from facts.part import Part
from facts.swarm import ASK, RUNS

_MTU = "com.docker.network.driver.mtu"


@dataclass(frozen=True)
class Published:
    """A port that the outside reaches."""

    port: int
    protocol: str
    by: str
    """The container's or service's name."""
    on_every_node: bool = False
    """Whether the swarm routes it from every node (mode ingress)."""

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol} ({self.by})"


@dataclass(frozen=True)
class Overlay:
    """An overlay network, as far as this host knows it."""

    name: str
    mtu: int | None
    """None where it is the default, 1450."""
    subnets: tuple[str, ...]


@dataclass(frozen=True)
class RuntimeState:
    """What the engine says, and what systemd says of it."""

    answers: bool
    storage_driver: str
    containerd_store: bool
    """Whether images lie in containerd's store, which holds multi-platform indexes."""
    firewall: str
    """Which rules it writes, `iptables` or `nftables`; engines before 28 do not say."""
    live_restore: bool
    warnings: tuple[str, ...]
    """What the engine itself warns of."""
    node_address: str
    """What it advertises to the swarm; empty outside of one."""
    pools: tuple[str, ...]
    """Where the swarm's networks get their addresses; only a manager knows."""
    published: tuple[Published, ...]
    stopped: tuple[str, ...]
    """Names of containers that do not run."""
    networks: tuple[Overlay, ...]
    unit_hosts: bool
    """Whether the unit's command line says where to listen, which daemon.json then must not."""
    result: str
    """How the engine's last run ended, in systemd's word; `success` while it runs."""
    key_mode: str
    """Rights and owner of the engine's private key, e.g. `600 root`; empty where there is none."""


class Runtime(Part[RuntimeState]):
    """Reads `RuntimeState`. Source: Engine API, GET /info, /containers/json, /services and /networks."""

    questions: ClassVar[Mapping[str, str]] = {
        "info": f"{RUNS} && {ASK}/info",
        "containers": f"{RUNS} && {ASK}/containers/json?all=1",
        "services": f"{RUNS} && {ASK}/services",
        "networks": f"{RUNS} && {ASK}/networks",
        "unit": "systemctl show docker.service -p Result -p ExecStart",
        "key": f"stat -c '%a %U' {TLS_FOLDER}/server-key.pem",
    }

    def parse(self, found: Mapping[str, str]) -> RuntimeState:
        try:
            return _state(json.loads(found["info"] or "{}"), found)
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not what the engine's API gives: {error}") from error


def _state(info: dict[str, Any], found: Mapping[str, str]) -> RuntimeState:
    containers, services, networks = (json.loads(found[it] or "[]") for it in ("containers", "services", "networks"))
    swarm = info.get("Swarm") or {}
    unit = dict(line.split("=", 1) for line in found["unit"].splitlines() if "=" in line)
    return RuntimeState(
        answers=bool(info),
        storage_driver=str(info.get("Driver", "")),
        containerd_store=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []),
        firewall=str((info.get("FirewallBackend") or {}).get("Driver", "")),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        warnings=tuple(str(warning).removeprefix("WARNING: ") for warning in info.get("Warnings") or []),
        node_address=str(swarm.get("NodeAddr", "")),
        pools=tuple((swarm.get("Cluster") or {}).get("DefaultAddrPool") or []),
        stopped=tuple(_name(each) for each in containers if each.get("State") != "running"),
        published=tuple(dict.fromkeys([*_of_containers(containers), *_of_services(services)])),
        networks=tuple(_network(each) for each in networks if each.get("Driver") == "overlay"),
        unit_hosts=bool(re.search(r"dockerd [^;]*(-H|--host)\b", unit.get("ExecStart", ""))),
        result=unit.get("Result", ""),
        key_mode=found["key"].strip(),
    )


def _of_containers(containers: Any) -> list[Published]:
    return [
        Published(int(port["PublicPort"]), str(port["Type"]), _name(container))
        for container in containers
        for port in container.get("Ports") or []
        if port.get("PublicPort") and not str(port.get("IP", "")).startswith("127.")
    ]


def _name(container: Any) -> str:
    return str(container["Names"][0]).removeprefix("/")


def _of_services(services: Any) -> list[Published]:
    """Ports that the swarm routes; those of mode host are their containers'."""
    return [
        Published(int(port["PublishedPort"]), str(port["Protocol"]), str(service["Spec"]["Name"]), on_every_node=True)
        for service in services
        for port in (service.get("Endpoint") or {}).get("Ports") or []
        if port.get("PublishMode") == "ingress" and port.get("PublishedPort")
    ]


def _network(network: Any) -> Overlay:
    mtu = (network.get("Options") or {}).get(_MTU)
    configured = (network.get("IPAM") or {}).get("Config") or []
    return Overlay(
        name=str(network["Name"]),
        mtu=int(mtu) if mtu else None,
        subnets=tuple(str(each["Subnet"]) for each in configured if each.get("Subnet")),
    )
