"""The registry's container: whether it runs, and where its data is; `image.registry.bootstrap` starts it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from image.cluster import REGISTRY_DATA_LABEL, Cluster, Endpoint, Node
from image.engine import EngineError
from image.errors import UserError
from image.plan import Image

NAME = "pishelf-registry"
BEFORE = "pishelf-registry-before"
"""What the one that ran is called while another is tried in its place."""
DATA = "/var/lib/registry"
"""Where the registry's container has its data."""


def runs(cluster: Cluster, image: Image) -> bool:
    """Whether the registry's container runs the image that this clone describes.

    Raises:
        UserError: its node's engine does not answer; or the registry's images are somewhere else than the
            node's labels say, so that one that is started here would be an empty one.
    """
    node = cluster.registry_node
    engine = cluster.engine(node)
    try:
        found = _find(engine, NAME)
        refuse_elsewhere(cluster, found)
        # What a killed run left would start with the engine and fight for the port.
        return found is not None and _is(found, image.reference(cluster.registry)) and _find(engine, BEFORE) is None
    except EngineError as error:
        raise UserError(
            f"the engine of {node.name} ({node.address}), which has the registry: {error}", f"ping {node.address}"
        ) from error


def data_wanted(cluster: Cluster) -> str:
    """Where the registry's data should be on its node: a path, or the name of a volume."""
    return cluster.registry_node.labels.get(REGISTRY_DATA_LABEL, NAME)


def data_of(found: Mapping[str, Any]) -> str:
    """Where a registry's data is on its node, of what `docker inspect` shows: a path, or the name of a volume."""
    mount = next(mount for mount in found["Mounts"] if mount["Destination"] == DATA)
    return str(mount["Source"] if mount["Type"] == "bind" else mount["Name"])


@dataclass(frozen=True)
class Elsewhere:
    """Which of the other nodes have a registry of ours, or its volume, and which do not tell."""

    nodes: tuple[Node, ...]
    silent: tuple[Node, ...]


def elsewhere(cluster: Cluster) -> Elsewhere:
    """Ask the engines of the other nodes."""
    others = [node for node in cluster.nodes if node != cluster.registry_node and cluster.endpoint.tls]
    with ThreadPoolExecutor(max_workers=max(1, len(others))) as pool:
        has = list(zip(others, pool.map(lambda node: _has(cluster.engine(node)), others), strict=True))
    return Elsewhere(tuple(node for node, one in has if one), tuple(node for node, one in has if one is None))


def refuse_elsewhere(cluster: Cluster, found: Mapping[str, Any] | None) -> None:
    """Raise UserError where the images are with another node's registry, or in other data on this one."""
    node, wanted = cluster.registry_node.name, data_wanted(cluster)
    move = f"{cluster.command} move-registry, which copies all of it"
    if found is None:
        if others := elsewhere(cluster).nodes:
            where = " and ".join(other.name for other in others)
            raise UserError(f"the registry is labelled for {node}, but its images are on {where}", move)
        if wanted != NAME and _ask(cluster.engine(cluster.registry_node), f"/volumes/{NAME}"):
            raise UserError(f"the registry on {node} is labelled for {wanted}, but its images are in {NAME}", move)
    elif (actual := data_of(found)) != wanted:
        raise UserError(f"the registry on {node} has its data in {actual}, but is labelled for {wanted}", move)


def _has(engine: Endpoint) -> bool | None:
    """Whether a node has the container or the volume; None where it does not tell."""
    try:
        return bool(_find(engine, NAME) or _ask(engine, f"/volumes/{NAME}"))
    except EngineError:
        return None


def _find(engine: Endpoint, name: str) -> Any | None:
    """What `docker inspect` shows of a container, if there is one."""
    return _ask(engine, f"/containers/{name}/json")


def _ask(engine: Endpoint, path: str) -> Any | None:
    try:
        return engine.get(path)
    except EngineError as error:
        if error.status == 404:
            return None
        raise


def _is(found: Mapping[str, Any], reference: str) -> bool:
    state = found["State"]
    return bool(state["Running"] and not state["Restarting"] and found["Config"]["Image"] == reference)
