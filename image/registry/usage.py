"""Which images the services of a swarm use, of whatever stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import docker
import requests

from image.cluster import Cluster
from image.errors import UserError
from image.registry import bootstrap
from image.registry.stock import Item, Stock

REGISTRY = "the registry itself"


@dataclass(frozen=True)
class Use:
    """A service and the image that it runs, or that it would run after a rollback."""

    service: str
    image: str
    """Its reference: `host:port/name@sha256:…`, or by a tag."""
    former: bool = False


def read(cluster: Cluster) -> tuple[Use, ...]:
    """All services' images, and the registry's own; raises UserError where the manager or the node does not answer."""
    with cluster.manager() as client:
        uses = of(client.api.services())  # type: ignore[no-untyped-call]
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            container = bootstrap.find(client)
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*bootstrap.engine_failed(cluster, error)) from error
    own = container and Use(REGISTRY, container.attrs["Config"]["Image"])
    return (*uses, *([own] if own else []))


def of(services: Iterable[Mapping[str, Any]]) -> tuple[Use, ...]:
    """Read the Engine API's GET /services."""
    found = []
    for service in services:
        for key, former in (("Spec", False), ("PreviousSpec", True)):
            spec = service.get(key) or {}
            image = ((spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}).get("Image")
            if image:
                found.append(Use(service["Spec"]["Name"], image, former))
    return tuple(found)


def users(uses: Iterable[Use], stock: Stock, item: Item) -> tuple[Use, ...]:
    """Who uses an item, or a part of it, whatever the registry's address was when the service was made."""
    parts = stock.closure(item.name, [item.digest])
    return tuple(use for use in uses if _digest(use) in parts or use.image.partition("/")[2] == str(item))


def _digest(use: Use) -> str:
    return use.image.partition("@")[2]


def refuse_used(uses: Iterable[Use], stock: Stock, items: Iterable[Item]) -> None:
    """Raise UserError where a service, or the registry itself, runs one of the items, and it has no other tag."""
    uses = tuple(use for use in uses if not use.former)
    items = tuple(items)
    gone = {*stock.removal(items).delete}
    for item in items:
        if (item.name, item.digest) not in gone and not any(_digest(use) == "" for use in users(uses, stock, item)):
            continue
        if found := sorted({use.service for use in users(uses, stock, item)}):
            raise UserError(
                f"{item} is used by {', '.join(found)}; nothing is removed",
                "deploy another version first; or --force, with which nodes that lack it cannot start it any more",
            )
