"""All that the checks look at: what the inventory says, what the hosts said, what was seen from outside."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from doctor.dial import Door
from doctor.registry import Stock
from facts.part import Part
from facts.reach import Reached
from facts.swarm import Availability, Role, Swarm, SwarmNode

T = TypeVar("T")


class UnreadError(Exception):
    """What a check needs could not be read; why, in a sentence."""


@dataclass(frozen=True)
class Pull:
    """What came of a pull from the cluster's registry."""

    error: str = ""
    """The engine's words; empty where the image came."""


@dataclass(frozen=True)
class HostEvidence:
    """One host."""

    name: str
    address: str
    """The inventory's."""
    role: Role
    availability: Availability = "active"
    static: bool = False
    """Whether the inventory wants its address to be set on the host itself."""
    silence: str = ""
    """Why it does not answer; empty where it does."""
    refusal: str = ""
    """Why it lets nobody be root; empty where it does."""
    parts: Mapping[type[Part[Any]], Any] = field(default_factory=dict)
    """What was read."""
    unread: Mapping[type[Part[Any]], str] = field(default_factory=dict)
    """Why a part could not be read."""
    reached: Reached | None = None
    door: Door | None = None
    pull: Pull | None = None

    def read(self, part: type[Part[T]]) -> T:
        """What is true of the host.

        Raises:
            UnreadError: it was not told.
        """
        if part not in self.parts:
            raise UnreadError(self.unread.get(part) or "nothing could be read there as root")
        return cast("T", self.parts[part])


@dataclass(frozen=True)
class Evidence:
    """The cluster."""

    hosts: tuple[HostEvidence, ...]
    """Those that were examined."""
    inventory: Mapping[str, str]
    """The addresses of all hosts by name, whether they were examined or not."""
    managers: tuple[str, ...]
    """The names of those that shall be managers."""
    registry_node: str
    prometheus_node: str
    overlay_pool: str
    firewall: bool
    """Whether the inventory wants a firewall of our own."""
    metrics: bool
    """Whether it wants the hosts to write metrics of their own."""
    ca: str
    """The CA's certificate on this computer, PEM; empty where there is none."""
    now: dt.datetime
    stock: Stock | None = None
    """What the registry has that the hosts were asked to pull; None where this computer has no login for it."""
    registry_started: bool = False
    """Whether its host has a registry, running or not."""

    def all(self, part: type[Part[T]]) -> Mapping[str, T]:
        """What was read of all hosts that told it, by their names."""
        return {host.name: host.read(part) for host in self.hosts if part in host.parts}

    @property
    def nodes(self) -> Mapping[str, SwarmNode]:
        """The swarm's nodes by ID, by the first manager that can decide; empty where there is none."""
        return next((state.nodes for state in self.all(Swarm).values() if state.nodes), {})
