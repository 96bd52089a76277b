"""Whether everything in the registry is whole, and every node can have it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Any

import docker
import requests

from image.cluster import Cluster, Node
from image.errors import UserError, reason
from image.platform import taken
from image.progress import Progress, step
from image.registry import listing
from image.registry.client import Registry
from image.registry.referrers import subject
from image.registry.stock import Item, Stock
from image.registry.verified import verify

_AT_ONCE = 4


@dataclass(frozen=True)
class Result:
    """What was looked at, and what is wrong with it: one sentence each."""

    images: tuple[str, ...]
    nodes: tuple[str, ...]
    pulls: int
    damage: tuple[str, ...]
    failed: tuple[str, ...] = ()
    """What a node could not pull, or why it could not be asked; the registry's images may be whole."""

    def check(self, cluster: Cluster) -> None:
        """Raise UserError where something is damaged or was not pulled, with the way out."""
        if self.damage:
            raise UserError(f"{len(self.damage)} damaged in the registry", repair(cluster))
        if self.failed:
            raise UserError(
                "not every node could pull everything; all that the registry has is whole",
                "start the node, or pyinfra inventory.py deploys/doctor.py, which says what it lacks",
            )

    def json(self) -> str:
        """For scripts."""
        return json.dumps(asdict(self), indent=2)

    def lines(self) -> list[str]:
        """For people."""
        pulled = f", {self.pulls} pulls on {', '.join(self.nodes)}" if self.nodes else ""
        verdict = f"{len(self.damage)} damaged" if self.damage else "all whole"
        verdict += f", {len(self.failed)} not pulled" if self.failed else ""
        return [*self.damage, *self.failed, f"registry: {len(self.images)} images{pulled}: {verdict}"]


def repair(cluster: Cluster) -> str:
    """How a person replaces what is damaged."""
    command = cluster.command
    return (
        f"{command} rm --force IMAGE:TAG, {command} gc --yes, then {command} build-all;"
        " an image from elsewhere is mirrored again"
    )


def everything(cluster: Cluster, stock: Stock, progress: Progress) -> Result:
    """Look at every blob and pull every image on every node; raises UserError where the registry does not answer."""
    damage = blobs(Registry.of(cluster), stock, progress)
    with step(progress, f"pull on {', '.join(node.name for node in cluster.nodes)}"):
        pulls, failed = pull_everywhere(cluster, stock)
    nodes = tuple(node.name for node in cluster.nodes)
    return Result(tuple(map(str, stock.items())), nodes, pulls, damage, failed)


def blobs(registry: Registry, stock: Stock, progress: Progress) -> tuple[str, ...]:
    """What is wrong with any tag or manifest, each blob read and hashed; each sentence once."""
    wanted = [(item.name, item.tag or item.digest) for item in stock.items()]
    wanted += [(name, tag) for name, tags in stock.links.tags.items() for tag in tags if (name, tag) not in wanted]
    with step(progress, f"read {len(wanted)} images"), ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = pool.map(lambda one: verify(registry, one[0], one[1], deep=True), wanted)
        return told(stock, zip(wanted, found, strict=True))


def told(stock: Stock, found: Iterable[tuple[tuple[str, str], Iterable[str]]]) -> tuple[str, ...]:
    """Each sentence once, with what a person removes to be rid of what it says.

    Args:
        found: name and tag or digest of what was looked at, and what is wrong with it.
    """
    bearers: dict[str, dict[str, None]] = {}
    for (name, reference), sentences in found:
        tags = stock.links.tags.get(name, {})
        about = [tag for tag, one in tags.items() if one.digest == subject(reference)]  # an SBOM goes with its image
        names = [f"{name}{'@' if ':' in one else ':'}{one}" for one in about or [reference]]
        for sentence in sentences:
            bearers.setdefault(sentence, {}).update(dict.fromkeys(names))
    return tuple(
        sentence if sentence.startswith(tuple(names)) else f"{sentence}; in {' and '.join(names)}"
        for sentence, names in bearers.items()
    )


def pull_everywhere(cluster: Cluster, stock: Stock) -> tuple[int, tuple[str, ...]]:
    """Pull on each node what its engine takes, all nodes at once, and leave nothing there that was not.

    Returns:
        How many pulls went well, and a sentence for each that did not.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(cluster.nodes))) as pool:
        found = list(pool.map(lambda node: _pull_all(cluster, node, for_node(stock, node)), cluster.nodes))
    return sum(pulls for pulls, _ in found), tuple(sentence for _, failed in found for sentence in failed)


def for_node(stock: Stock, node: Node) -> dict[Item, str]:
    """The tagged images that a node's engine takes, each digest once; with the platform that it takes of them."""
    tagged = {(item.name, item.digest): item for item in stock.items() if item.tag}
    found = {item: taken(node.platform, listing.platforms(stock, item.digest)) for item in tagged.values()}
    return {item: platform for item, platform in found.items() if platform}


def _pull_all(cluster: Cluster, node: Node, items: Mapping[Item, str]) -> tuple[int, list[str]]:
    failed = []
    try:
        with closing(cluster.engine(node).client()) as client:
            for item, platform in items.items():
                try:
                    _pull(client, cluster, item, platform)
                except (docker.errors.DockerException, requests.RequestException, UserError) as error:
                    failed.append(f"{node.name} cannot pull {item}: {reason(error)}")
    except (docker.errors.DockerException, requests.RequestException) as error:
        return 0, [f"the engine of {node.name} ({node.address}) does not answer: {reason(error)}"]
    return len(items) - len(failed), failed


def _pull(client: docker.DockerClient, cluster: Cluster, item: Item, platform: str) -> None:
    login = Registry.of(cluster).login
    reference = f"{cluster.registry}/{item.name}@{item.digest}"
    there = _has(client, reference)
    said: Iterable[Mapping[str, Any]] = client.api.pull(
        f"{cluster.registry}/{item.name}",
        tag=item.digest,
        platform=platform,
        auth_config={"username": login.user, "password": login.password},
        stream=True,
        decode=True,
    )
    errors = [line["error"] for line in said if "error" in line]
    if not there:
        with suppress(docker.errors.APIError):  # a task has begun to use it
            client.images.remove(reference)
    if errors:
        raise UserError(str(errors[0]))


def _has(client: docker.DockerClient, reference: str) -> bool:
    try:
        client.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    return True
