"""What a swarm says of itself: its nodes, their platforms, its registry.

The provisioning half leaves behind a docker context, node labels and engines that trust the registry.
This module reads just these, so it also works on a swarm that something else made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image import engine
from image.engine import EngineError
from image.errors import UserError
from image.platform import Platform
from pki import context
from pki.context import ENGINE_PORT

if TYPE_CHECKING:
    from docker import DockerClient

# Node labels that the provisioning half sets; they are the interface between the two halves.
REGISTRY_LABEL = "registry"  # on the registry's node; value: its address, `host:port`
REGISTRY_DATA_LABEL = "registry.data"  # beside it: a path on the node for its data, if not a volume
PROMETHEUS_LABEL = "prometheus"  # on the node that keeps Prometheus' data; value: true
PLATFORM_LABEL = "platform"  # what the node's programs are made for, e.g. linux/arm/v7
IPVS_LABEL = "ipvs"  # whether the node's kernel can route the swarm's published ports; true or false

_HTTPS = 443
_AWAY = ("timed out", "No route to host")  # how a machine that is not there is told
_OWN_ENGINE = "unix:///var/run/docker.sock"
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Endpoint:
    """How to reach one engine: its address and, for TLS, the folder with Docker's own file names."""

    host: str
    tls: Path | None = None

    def at(self, address: str) -> Endpoint:
        """The same credentials, for the engine of the node at `address`."""
        return self if self.tls is None else replace(self, host=f"tcp://{address}:{ENGINE_PORT}")

    def get(self, path: str) -> Any:
        """The engine's answer to GET `path`, e.g. `/nodes`; raises EngineError."""
        return engine.get(self.host, self.tls, path)

    def client(self) -> DockerClient:
        """A client of the engine's API; raises docker.errors.DockerException where none answers."""
        from pki import client  # its import takes longer than what a quick command does

        return client.engine(self.host, self.tls)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point docker's and buildx' command lines here."""
        tls = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(self.tls)} if self.tls else {}
        return {"DOCKER_HOST": self.host, **tls}


@dataclass(frozen=True)
class Node:
    """One node of the swarm, as `docker node inspect` shows it."""

    id: str
    name: str
    address: str
    role: str
    ready: bool
    """Whether it takes tasks."""
    platform: Platform
    labels: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0
    """In bytes; 0 where it is not known."""
    cpus: float = 0
    spared: bool = False
    """Whether a person wants it to take no tasks: drained or paused."""

    def https(self, port: int) -> str:
        """Where a port of it that speaks HTTPS is asked, without a slash at the end."""
        return f"https://{self.address}" + ("" if port == _HTTPS else f":{port}")

    @classmethod
    def all(cls, entries: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
        """Read the Engine API's GET /nodes, by name.

        A node whose join was cut off is in the list and has never said what it is; it is left out.
        """
        known = (cls.of(attrs) for attrs in entries if attrs.get("Description", {}).get("Platform"))
        return tuple(sorted(known, key=lambda node: node.name))

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Node:
        """Read one entry of the Engine API's GET /nodes."""
        status, description = attrs["Status"], attrs["Description"]
        spec, resources = attrs["Spec"], description.get("Resources") or {}
        address = status.get("Addr", "")
        if address in ("", "0.0.0.0"):  # noqa: S104 - what a manager says of itself before it has peers
            address = attrs.get("ManagerStatus", {}).get("Addr", "").rpartition(":")[0]
        return cls(
            id=attrs["ID"],
            name=description["Hostname"],
            address=address,
            role=spec["Role"],
            ready=status["State"] == "ready" and spec["Availability"] == "active",
            spared=spec["Availability"] != "active",
            platform=_platform(spec.get("Labels") or {}, description["Platform"]["Architecture"]),
            labels=spec.get("Labels") or {},
            memory=resources.get("MemoryBytes", 0),
            cpus=resources.get("NanoCPUs", 0) / 1e9,
        )


def _platform(labels: Mapping[str, str], machine: str) -> Platform:
    """What provisioning said, else what the engine reports, which is the kernel's and not the programs'."""
    return Platform.parse(labels[PLATFORM_LABEL]) if PLATFORM_LABEL in labels else Platform.of_machine(machine)


@dataclass(frozen=True)
class Cluster:
    """A swarm, how to reach it, and where its registry is."""

    name: str
    endpoint: Endpoint
    nodes: tuple[Node, ...]
    credentials: Path
    """A folder that Docker's command line takes as DOCKER_CONFIG; its config.json logs in to the registry."""

    @cached_property
    def registry_node(self) -> Node:
        """The node that is labelled for the registry; raises UserError."""
        labelled = [node for node in self.nodes if REGISTRY_LABEL in node.labels]
        if len(labelled) == 1:
            return labelled[0]
        who = " and ".join(node.name for node in labelled) + " have" if labelled else f"no node of {self.name} has"
        raise UserError(
            f"{who} the label {REGISTRY_LABEL!r}, which belongs to one node",
            "pyinfra inventory.py deploys/swarm.py, or "
            f"docker node update --label-add {REGISTRY_LABEL}=ADDRESS:5000 NODE",
        )

    @property
    def registry(self) -> str:
        """The registry's address, `host:port`."""
        return self.registry_node.labels[REGISTRY_LABEL]

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """What the nodes run, sorted, each once."""
        return tuple(sorted({node.platform for node in self.nodes}))

    @property
    def routes_ports(self) -> bool:
        """Whether every node's kernel has IPVS, without which ingress ports and VIPs do not answer."""
        return all(node.labels.get(IPVS_LABEL, "true") == "true" for node in self.nodes)

    @property
    def docker(self) -> str:
        """How a person begins a command for this swarm."""
        return f"docker --context {self.name}"

    @property
    def command(self) -> str:
        """How a person begins a command of ours for this swarm."""
        return f"python -m image --context {self.name}"

    def engine(self, node: Node) -> Endpoint:
        """How to reach this node's own engine."""
        return self.endpoint.at(node.address)

    @contextmanager
    def manager(self) -> Iterator[DockerClient]:
        """A client of the swarm's manager; raises UserError where it stops answering."""
        import docker  # takes longer than what a quick command does
        import requests
        from paramiko import SSHException

        try:
            with closing(self.endpoint.client()) as client:
                yield client
        except (docker.errors.DockerException, requests.RequestException, SSHException) as error:
            raise UserError(
                f"the manager of {self.name} at {self.endpoint.host} stopped answering: {error}",
                f"{self.docker} node ls; then the same command again",
            ) from error

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point docker's command line at a manager, logged in to the registry."""
        return {**self.endpoint.environment, "DOCKER_CONFIG": str(self.credentials)}


def read(chosen: str | None, credentials: Path | None = None) -> Cluster:
    """Ask a manager, through a docker context, for its swarm.

    Args:
        chosen: a docker context's name; None is the current one.
        credentials: the folder that logs in to the registry; by default `.cluster/<context>` if there
            is one, else Docker's own.

    Raises:
        UserError: there is no such context, it does not answer, or it is no manager of a swarm.
    """
    name, endpoint = _context(chosen)
    try:
        nodes = Node.all(endpoint.get("/nodes"))
    except EngineError as error:
        if error.status:
            raise UserError(
                f"the engine of context {name!r} is no manager of a swarm: {error}",
                "docker context ls, then --context NAME; or pyinfra inventory.py deploys/swarm.py",
            ) from error
        raise UserError(
            f"the engine of context {name!r} at {endpoint.host} does not answer: {error}",
            _without_an_answer(name, endpoint.host, str(error)),
        ) from error
    return Cluster(name, endpoint, nodes, credentials or _credentials(name))


def _without_an_answer(name: str, host: str, said: str) -> str:
    """Where to look, by what the network said; docker's own command line tells more where a machine is there."""
    if host.startswith("tcp://") and any(word in said for word in _AWAY):
        there = host.removeprefix("tcp://").rpartition(":")[0]
        return f'the power and the network of {there}; if it does not come back: README.md, "The only manager died?"'
    return f"docker --context {name} info"


def _context(name: str | None) -> tuple[str, Endpoint]:
    """A docker context's name and endpoint.

    Read from the files in which docker's command line keeps them: starting it takes longer than all else that a run
    with nothing to do has to do here.
    """
    config = context.docker_config_folder()
    if name is None:
        name = context.DEFAULT if os.environ.get("DOCKER_HOST") else context.current(config)
    if name == context.DEFAULT:
        tls = Path(os.environ.get("DOCKER_CERT_PATH") or config) if os.environ.get("DOCKER_TLS_VERIFY") else None
        return name, Endpoint(os.environ.get("DOCKER_HOST") or _OWN_ENGINE, tls)
    host = context.leads_to(name, config)
    if host is None:
        raise UserError(
            f"there is no docker context {name!r}",
            "docker context ls; provisioning writes one: pyinfra inventory.py deploys/swarm.py",
        )
    return name, Endpoint(host, context.certificates(name, config))


def _credentials(name: str) -> Path:
    ours = _ROOT / ".cluster" / name
    return ours if ours.is_dir() else context.docker_config_folder()
