"""Whether a swarm's managers can still decide: more than half of them have to reach each other.

Source: docs.docker.com/engine/swarm/raft; moby/moby#34384 and #30847 are what happens without this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from facts.swarm import SwarmNode


@dataclass(frozen=True)
class Quorum:
    """How many managers a swarm has, and how many of them are reachable."""

    managers: int
    reachable: int

    @classmethod
    def of(cls, nodes: Iterable[SwarmNode]) -> Self:
        """The quorum of a swarm, by one manager's list of its nodes."""
        managers = [node for node in nodes if node.role == "manager"]
        return cls(len(managers), sum(node.reachable for node in managers))

    @property
    def needed(self) -> int:
        """How many have to be reachable."""
        return self.managers // 2 + 1

    @property
    def holds(self) -> bool:
        """Whether the swarm can decide."""
        return self.reachable >= self.needed

    @property
    def tolerates(self) -> int:
        """How many of the managers that are reachable may fail."""
        return max(0, self.reachable - self.needed)

    def __str__(self) -> str:
        return f"{self.reachable} of {self.managers} managers reachable, {self.needed} needed"

    def stopped(self) -> Quorum:
        """While one reachable manager is stopped."""
        return replace(self, reachable=self.reachable - 1)

    def removed(self, reachable: bool) -> Quorum:
        """After one manager is taken away for good."""
        return Quorum(self.managers - 1, self.reachable - reachable)


def objection_to_stop(nodes: Iterable[SwarmNode], node_id: str) -> str:
    """Why this node's engine must not be stopped for a moment now; empty if it may.

    One or two managers tolerate no failure at all, so a short stop is the only way there is, provided that
    the other one is reachable and can go on afterwards.
    """
    listed = {node.id: node for node in nodes}
    if node_id not in listed or listed[node_id].role != "manager":
        return ""
    now = Quorum.of(listed.values())
    after = now.stopped()
    if after.holds or (now.managers <= 2 and now.reachable == now.managers):
        return ""
    return f"it would leave the swarm with {after}"


def objection_to_remove(nodes: Iterable[SwarmNode], node_id: str) -> str:
    """Why this node must not stop being a manager now; empty if it may."""
    listed = {node.id: node for node in nodes}
    if node_id not in listed or listed[node_id].role != "manager":
        return ""
    now = Quorum.of(listed.values())
    if not now.holds:
        return f"the swarm cannot decide anything: {now}"
    after = now.removed(listed[node_id].reachable)
    if after.managers == 0:
        return "it is the swarm's only manager"
    return "" if after.holds else f"it would leave the swarm with {after}"
