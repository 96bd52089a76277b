"""Whether the registry runs: the container that `image.bootstrap` starts on the labelled node."""

from __future__ import annotations

from typing import Any

from image.cluster import Cluster, Endpoint
from image.engine import EngineError
from image.errors import UserError
from image.plan import Image

NAME = "pishelf-registry"
BEFORE = "pishelf-registry-before"
"""What the one that ran is called while another is tried in its place."""


def runs(cluster: Cluster, image: Image) -> bool:
    """Whether the registry's container runs the image that this clone describes; raises UserError."""
    node = cluster.registry_node
    engine = cluster.engine(node)
    try:
        found = _find(engine, NAME)
        # What a killed run left would start with the engine and fight for the port.
        return found is not None and _is(found, image.reference(cluster.registry)) and _find(engine, BEFORE) is None
    except EngineError as error:
        raise UserError(
            f"the engine of {node.name} ({node.address}), which has the registry: {error}", f"ping {node.address}"
        ) from error


def _find(engine: Endpoint, name: str) -> Any | None:
    """What `docker inspect` shows of a container, if there is one."""
    try:
        return engine.get(f"/containers/{name}/json")
    except EngineError as error:
        if error.status == 404:
            return None
        raise


def _is(found: Any, reference: str) -> bool:
    state = found["State"]
    return bool(state["Running"] and not state["Restarting"] and found["Config"]["Image"] == reference)
