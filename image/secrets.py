"""What the swarm keeps secret: each value under a name of its own, so that the next deploy takes over from the last.

A secret NAME is stored as `shelf_NAME-<12 hex>`, and labelled, so that every controller finds its newest version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from image.cluster import Cluster
from image.engine import EngineError
from image.errors import UserError
from image.rollout import STACK

# Not docker's own label for what belongs to a stack: a secret outlives a `docker stack rm`.
_STACK_LABEL = "pishelf.stack"
_NAME_LABEL = "pishelf.secret"
_VERSION_LABEL = "pishelf.version"
# A name in a template, and with what is put around it at most 64 letters, which a swarm takes.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,44}", re.ASCII)


@dataclass(frozen=True)
class Version:
    """One value of a secret, as the swarm has it: not the value."""

    secret: str
    number: int
    name: str
    """In the swarm."""
    id: str = field(default="", compare=False)
    index: int = field(default=0, compare=False)
    """When the swarm last wrote it, in the swarm's own counting."""
    created: str = field(default="", compare=False)

    @classmethod
    def all(cls, entries: Iterable[Mapping[str, Any]]) -> tuple[Version, ...]:
        """Read the Engine API's GET /secrets; by name, of each the oldest first. What is not ours is left out."""
        found = []
        for attrs in entries:
            labels = attrs["Spec"].get("Labels") or {}
            secret, number = labels.get(_NAME_LABEL, ""), labels.get(_VERSION_LABEL, "")
            if labels.get(_STACK_LABEL) == STACK and _NAME.fullmatch(secret) and number.isdecimal():
                index, created = attrs["Version"]["Index"], attrs["CreatedAt"]
                found.append(cls(secret, int(number), attrs["Spec"]["Name"], attrs["ID"], index, created))
        return tuple(sorted(found, key=lambda one: (one.secret, one.number, one.index)))


class Names:
    """What a template knows as `secrets`: NAME -> its name in the swarm, also where the swarm does not have it yet."""

    def __init__(self, held: Mapping[str, str]) -> None:
        self._held = held

    def __getitem__(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        return self._held.get(name, f"{STACK}_{name}-missing")


def versions(cluster: Cluster) -> tuple[Version, ...]:
    """All that the swarm has; raises UserError."""
    only = quote(json.dumps({"label": [f"{_STACK_LABEL}={STACK}"]}))
    try:
        return Version.all(cluster.endpoint.get(f"/secrets?filters={only}"))
    except EngineError as error:
        raise UserError(f"the manager of {cluster.name} does not say which secrets it has: {error}") from error


def newest(cluster: Cluster) -> dict[str, str]:
    """NAME -> the name in the swarm of its newest version; raises UserError."""
    return {one.secret: one.name for one in versions(cluster)}
