"""What is wrong with a stack, found before the swarm is told: all at once, each with its line.

The checks are functions of values: the compose file's text, what the swarm's nodes are, what else runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import combinations
from typing import Any

from image.cluster import Node
from image.platform import Platform, taken
from image.stack import compose_keys, outside
from image.stack.compose_keys import ANY, Keys
from image.stack.rollout import NAMESPACE_LABEL
from image.stack.watch import Service, eligible, meets
from image.stack.yaml_lines import Finding, Value, parse

# What a node's own services hold; source: the ports that provisioning opens.
_NODES_OWN = {22: "ssh", 2376: "the engines' API", 2377: "the swarm", 7946: "the swarm", 4789: "the swarm"}
_CONSTRAINT = re.compile(r"\s*([a-z][\w.-]*?)\s*(==|!=)\s*(\S.*?)\s*", re.IGNORECASE)
# Source: swarmkit, manager/constraint/constraint.go.
_CONSTRAINED = ("node.id", "node.hostname", "node.ip", "node.role", "node.platform.os", "node.platform.arch")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_PORT = re.compile(r"(?:.*:)?(\d+)(?:-(\d+))?:\d+(?:-\d+)?(?:/(\w+))?")


@dataclass(frozen=True)
class Port:
    """A port that a service publishes."""

    number: int
    protocol: str
    routed: bool
    """Whether every node answers; else those that run the service."""
    owner: str
    nodes: frozenset[str] = frozenset()
    """The ids of those that may run it."""
    tasks: int = 1
    """How many of them it takes."""
    line: int = 0

    def __str__(self) -> str:
        return f"port {self.number}/{self.protocol}"


@dataclass(frozen=True)
class Swarm:
    """What a stack meets."""

    nodes: Collection[Node]
    ports: Collection[Port] = ()
    """What services of other stacks publish."""
    platforms: Mapping[str, frozenset[Platform]] = field(default_factory=dict)
    """What an image, by its reference, has programs for; of others nothing is known."""
    registry_port: int = 0


def published_ports(services: Collection[Mapping[str, Any]], stack: str, nodes: Collection[Node]) -> tuple[Port, ...]:
    """What services of other stacks publish, from the Engine API's GET /services."""
    found = []
    for attrs in services:
        service = Service.of(attrs, "")
        if attrs["Spec"].get("Labels", {}).get(NAMESPACE_LABEL) == stack:
            continue
        places = frozenset(node.id for node in eligible(nodes, service))
        tasks = len(places) if service.replicas is None else service.replicas
        for port in attrs.get("Endpoint", {}).get("Ports") or ():
            number, routed = port.get("PublishedPort", 0), port.get("PublishMode") != "host"
            found.append(Port(number, port.get("Protocol", "tcp"), routed, service.name, places, tasks))
    return tuple(found)


def lint(text: str, swarm: Swarm) -> tuple[Finding, ...]:
    """All mistakes of a compose file, by line; raises UserError where it is not YAML."""
    root = parse(text)
    services = root.at("services").table
    found = [*_unknown(root, compose_keys.TOP, ""), *outside.findings(root)]
    for name, service in services.items():
        found += [*_ignored(name, service), *_undefined(name, service, root)]
        found += [*_places(name, service, swarm), *_resources(name, service, swarm.nodes)]
    found += _taken([port for name, service in services.items() for port in _ports(name, service, swarm)], swarm)
    return tuple(sorted(set(found)))


def _unknown(value: Value, keys: Keys, path: str) -> Iterator[Finding]:
    for key, inner in value.walk():
        below = keys.get(key, keys.get(ANY))
        if key.startswith("x-"):
            continue
        if key in keys or ANY in keys:
            if below is not None:
                yield from _unknown(inner, below, f"{path}{key}.")
        elif keys is not compose_keys.SERVICE or key not in compose_keys.IGNORED:
            near = get_close_matches(key, keys, n=1)
            known = f"{near[0]!r}?" if near else f"known are {', '.join(sorted(keys))}"
            yield Finding(inner.line, f"{path}{key}: no such key; {known}")


def _ignored(name: str, service: Value) -> Iterator[Finding]:
    for key, value in service.table.items():
        if key in compose_keys.IGNORED:
            yield _ignores(value, f"services.{name}.{key}", compose_keys.IGNORED[key])
    for network, options in service.at("networks").table.items():
        for key, value in options.table.items():
            if key in compose_keys.IGNORED_IN_NETWORKS:
                advice = compose_keys.IGNORED_IN_NETWORKS[key]
                yield _ignores(value, f"services.{name}.networks.{network}.{key}", advice)


def _ignores(value: Value, path: str, advice: str) -> Finding:
    return Finding(value.line, f"{path}: a swarm ignores it; {advice}")


def _undefined(name: str, service: Value, root: Value) -> Iterator[Finding]:
    for kind in ("configs", "secrets"):
        for item in service.at(kind).items:
            source = item.at("source")
            yield from _missing(root, kind, item.text or source.text, source.line, name)
    networks = service.at("networks")
    used = {item.text: item.line for item in networks.items} | {key: one.line for key, one in networks.table.items()}
    for network, line in used.items():
        if network != "default":
            yield from _missing(root, "networks", network, line, name)
    for item in service.at("volumes").items:
        yield from _missing(root, "volumes", _volume(item), item.line, name)


def _volume(item: Value) -> str:
    """The name of the volume that is mounted; empty where it is none or has no name."""
    if item.table:
        return item.at("source").text if item.at("type").text == "volume" else ""
    first, colon, _ = item.text.partition(":")
    return first if colon and not first.startswith(("/", ".", "~")) else ""


def _missing(root: Value, kind: str, wanted: str, line: int, service: str) -> Iterator[Finding]:
    known = root.at(kind).table
    if wanted and wanted not in known:
        near = get_close_matches(wanted, known, n=1)
        advice = f"{near[0]!r}?" if near else f"add it under {kind}"
        yield Finding(line, f"services.{service}.{kind}: {wanted!r} is not defined; {advice}")


def _places(name: str, service: Value, swarm: Swarm) -> Iterator[Finding]:
    """Where a service may run: its constraints, and what its image has programs for."""
    key = service.at("deploy", "placement", "constraints")
    wrong = [finding for item in key.items for finding in _constraint(name, item, swarm.nodes)]
    yield from wrong
    if wrong:
        return
    meeting = [node for node in swarm.nodes if all(meets(node, item.text) for item in key.items)]
    if not meeting:
        yield Finding(key.line, f"services.{name}: no node meets all its constraints")
        return
    ready = [node for node in meeting if node.ready]
    if not ready:
        names = ", ".join(node.name for node in meeting)
        yield Finding(key.line, f"services.{name}: no node that may run it is ready and active: {names}")
    image = service.at("image")
    if image.text not in swarm.platforms:
        return
    has = swarm.platforms[image.text]
    lacking = [node for node in ready if not taken(node.platform, set(map(str, has)))]
    if lacking:
        nodes = ", ".join(f"{node.name} ({node.platform})" for node in lacking)
        kinds = ", ".join(str(platform) for platform in sorted(has)) or "none that we know"
        message = f"services.{name}: the image has nothing for {nodes}, which may run it; it has {kinds}"
        yield Finding(image.line, message)


def _constraint(name: str, item: Value, nodes: Collection[Node]) -> Iterator[Finding]:
    where = f"services.{name}: constraint {item.text!r}"
    match = _CONSTRAINT.fullmatch(item.text)
    if not match:
        yield Finding(item.line, f"{where}: expected KEY == VALUE or KEY != VALUE")
        return
    key = match[1].lower()
    if not key.startswith(("node.labels.", "engine.labels.")) and key not in _CONSTRAINED:
        near = get_close_matches(key, (*_CONSTRAINED, "node.labels.NAME", "engine.labels.NAME"), n=1, cutoff=0)
        yield Finding(item.line, f"{where}: no node has a {key!r}; {near[0]!r}?")
    elif not any(meets(node, item.text) for node in nodes):
        yield Finding(item.line, f"{where}: no node meets it")


def _may_run(service: Value, nodes: Collection[Node]) -> list[Node]:
    constraints = [item.text for item in service.at("deploy", "placement", "constraints").items]
    return [node for node in nodes if node.ready and all(meets(node, text) for text in constraints)]


def _resources(name: str, service: Value, nodes: Collection[Node]) -> Iterator[Finding]:
    candidates = _may_run(service, nodes)
    memory = max((node.memory for node in candidates), default=0)
    cpus = max((node.cpus for node in candidates), default=0)
    for kind in ("limits", "reservations"):
        table = service.at("deploy", "resources", kind)
        for key, most, read in (("memory", memory, _bytes), ("cpus", cpus, _cpus)):
            value = table.at(key)
            if not value.text:
                continue
            where = f"services.{name}.deploy.resources.{kind}.{key}: {value.text!r}"
            asked = read(value.text)
            if asked is None:
                yield Finding(value.line, f"{where} is no amount; e.g. {'64M' if key == 'memory' else '0.5'}")
            elif most and asked > most:
                has = f"{memory / 2**20:.0f}M" if key == "memory" else f"{cpus:g}"
                yield Finding(value.line, f"{where} is more than any node that may run it has: {has}")


def _bytes(text: str) -> float | None:
    match = _SIZE.fullmatch(text)
    return float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " ") if match else None


def _cpus(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ports(name: str, service: Value, swarm: Swarm) -> Iterator[Port]:
    nodes = frozenset(node.id for node in _may_run(service, swarm.nodes))
    deploy = service.at("deploy")
    replicas = deploy.at("replicas").text
    tasks = len(nodes) if deploy.at("mode").text == "global" else int(replicas) if replicas.isdigit() else 1
    for item in service.at("ports").items:
        if item.table:
            published, protocol = item.at("published"), item.at("protocol").text or "tcp"
            if published.text.isdigit():
                routed = item.at("mode").text != "host"
                yield Port(int(published.text), protocol, routed, name, nodes, tasks, published.line)
        elif match := _PORT.fullmatch(item.text):
            for number in range(int(match[1]), int(match[2] or match[1]) + 1):
                yield Port(number, match[3] or "tcp", True, name, nodes, tasks, item.line)


def _taken(ports: Sequence[Port], swarm: Swarm) -> Iterator[Finding]:
    owned = dict(_NODES_OWN)
    if swarm.registry_port:
        owned[swarm.registry_port] = "the registry"
    for port in ports:
        where = f"services.{port.owner}.ports: {port}"
        if port.number in owned and port.tasks:
            yield Finding(port.line, f"{where} belongs to {owned[port.number]} on a node; publish another")
        for other in swarm.ports:
            if _clash(port, other):
                yield Finding(port.line, f"{where} is in use by service {other.owner}; publish another")
    for first, second in combinations(ports, 2):
        if _clash(first, second):
            message = f"services.{second.owner}.ports: {second} is published by {first.owner}, too"
            yield Finding(second.line, message)


def _clash(one: Port, other: Port) -> bool:
    """Whether two cannot be published at once: nodes have one port of a number, and a routed one is on all."""
    if (one.number, one.protocol) != (other.number, other.protocol):
        return False
    if one.routed or other.routed or one.owner == other.owner:
        return True
    return one.tasks + other.tasks > len(one.nodes | other.nodes)
