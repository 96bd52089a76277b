"""The registry itself, as a plain container on the node that is labelled for it.

Not a service of the swarm: it comes back with its node's engine, before the swarm needs it, and its own
image does not have to be pulled from anywhere.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import docker
import requests
from docker.models.containers import Container
from docker.types import Mount

from image.cluster import REGISTRY_DATA_LABEL, Cluster, Node
from image.errors import UserError
from image.plan import Image
from image.registry import NoAnswerError, Registry
from pki.context import ENGINE_PORT

CONTAINER = "pishelf-registry"
FILLING = "pishelf-registry-filling"
"""A second registry, with data that is to take the place of the first one's."""
_BEFORE = "pishelf-registry-before"
PORT = "5000/tcp"  # in its own network; see Registry/root/etc/distribution/config.yml
_ANSWERS_WITHIN = 30.0
STOPS_WITHIN = 10
_NO_FOLDER = "bind source path does not exist"
_KNOCKS = 3.0  # seconds for a node that may be away
DATA = "/var/lib/registry"
"""Where the registry's container has its data."""
_BUILD_CACHE = 256 * 1024**2


def runs(cluster: Cluster, image: Image) -> bool:
    """Whether the registry's container runs the image that this clone describes.

    Raises:
        UserError: its node's engine does not answer; or the registry's images are somewhere else than the
            node's labels say, so that one that is started here would be an empty one.
    """
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            container = find(client)
            refuse_elsewhere(cluster, container)
            # What a killed run left would start with the engine and fight for the port.
            swapped = find(client, _BEFORE) is None
            return container is not None and swapped and _is(container, image.reference(cluster.registry))
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*engine_failed(cluster, error)) from error


def start(cluster: Cluster, image: Image) -> None:
    """Start the registry from an image in its node's own engine, in the place of the one that runs.

    Raises:
        UserError: it does not start or does not answer; the one from before runs again then.
    """
    reference = image.reference(cluster.registry)
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            _put_back(client)
            before = find(client)
            if before is not None:
                before.rename(_BEFORE)
                before.stop(timeout=STOPS_WITHIN)
            try:
                client.containers.run(reference, name=CONTAINER, detach=True, **_settings(cluster))
                wait(Registry.of(cluster), client)
            except BaseException:
                if before is not None:
                    _put_back(client)
                    before.start()
                raise
            if before is not None:
                before.remove(force=True)
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*engine_failed(cluster, error)) from error


def start_filling(cluster: Cluster, client: docker.DockerClient, image: Image) -> Container:
    """Start a registry with the data that it should have, at a free port, beside the one that serves."""
    if left := find(client, FILLING):
        left.remove(force=True)
    settings = {**_settings(cluster), "ports": {PORT: None}, "restart_policy": {"Name": "no"}}
    container: Container = client.containers.run(
        image.reference(cluster.registry), name=FILLING, detach=True, **settings
    )
    container.reload()
    return container


def sweep(cluster: Cluster, images: Iterable[Image]) -> None:
    """Take older versions of the images, and most of BuildKit's cache, out of the engine that made them.

    What a container uses stays; all of them stay in the registry. A card is small.
    """
    kept = {image.reference(cluster.registry) for image in images}
    names = {reference.rpartition(":")[0] for reference in kept}
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            tags = {tag for image in client.images.list() for tag in image.tags}
            for tag in sorted(tags - kept):
                if tag.rpartition(":")[0] in names:
                    with suppress(docker.errors.APIError):  # a container uses it
                        client.images.remove(tag)
            client.api.prune_builds(keep_storage=_BUILD_CACHE, all=True)
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*engine_failed(cluster, error)) from error


def _settings(cluster: Cluster) -> dict[str, Any]:
    data = data_wanted(cluster)
    return {
        "restart_policy": {"Name": "always"},
        "ports": {PORT: int(cluster.registry.rpartition(":")[2])},
        "mounts": [
            Mount("/etc/docker/tls", "/etc/docker/tls", type="bind", read_only=True),
            Mount("/etc/docker/registry", "/etc/docker/registry", type="bind", read_only=True),
            Mount(DATA, data, type="bind" if data.startswith("/") else "volume"),
        ],
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


def data_wanted(cluster: Cluster) -> str:
    """Where the registry's data should be on its node: a path, or the name of a volume."""
    return cluster.registry_node.labels.get(REGISTRY_DATA_LABEL, CONTAINER)


def data_of(container: Container) -> str:
    """Where a registry's data is on its node: a path, or the name of a volume."""
    mount = next(mount for mount in container.attrs["Mounts"] if mount["Destination"] == DATA)
    return str(mount["Source"] if mount["Type"] == "bind" else mount["Name"])


def elsewhere(cluster: Cluster) -> tuple[Node, ...]:
    """The other nodes that have a registry of ours; those that do not answer are passed over."""
    others = [node for node in cluster.nodes if node != cluster.registry_node and cluster.endpoint.tls]
    with ThreadPoolExecutor(max_workers=max(1, len(others))) as pool:
        return tuple(
            node for node, has in zip(others, pool.map(lambda node: _has(cluster, node), others), strict=True) if has
        )


def _has(cluster: Cluster, node: Node) -> bool:
    try:
        socket.create_connection((node.address, ENGINE_PORT), timeout=_KNOCKS).close()
        with closing(cluster.engine(node).client()) as client:
            return find(client) is not None
    except (docker.errors.DockerException, requests.RequestException, OSError):
        return False


def refuse_elsewhere(cluster: Cluster, container: Container | None) -> None:
    """Raise UserError where the images are with another node's registry, or in other data on this one."""
    node, wanted = cluster.registry_node.name, data_wanted(cluster)
    move = f"python -m image --context {cluster.name} move-registry, which copies all of it"
    if container is None:
        if others := elsewhere(cluster):
            where = " and ".join(other.name for other in others)
            raise UserError(f"the registry is labelled for {node}, but its images are on {where}", move)
    elif (actual := data_of(container)) != wanted:
        raise UserError(f"the registry on {node} has its data in {actual}, but is labelled for {wanted}", move)


def _put_back(client: docker.DockerClient) -> None:
    """Give the registry from before its place again, where a new one was being tried."""
    before = find(client, _BEFORE)
    if before is None:
        return
    tried = find(client)
    if tried is not None:
        tried.remove(force=True)
    before.rename(CONTAINER)


def wait(registry: Registry, client: docker.DockerClient, within: float = _ANSWERS_WITHIN) -> None:
    """Until the registry answers over TLS and takes the login; raises UserError after so many seconds."""
    end = time.monotonic() + within
    while True:
        try:
            return registry.check()
        except NoAnswerError as error:
            container = find(client)
            state = container.attrs["State"] if container else {}
            if time.monotonic() > end or (state.get("Restarting") and state.get("ExitCode")):
                words = container.logs(tail=3).decode(errors="replace").strip() if container else ""
                raise UserError(f"the registry that was started does not answer: {error.message}\n  {words}") from error
        time.sleep(0.2)


def find(client: docker.DockerClient, name: str = CONTAINER) -> Container | None:
    """The container of this name, if there is one."""
    try:
        return client.containers.get(name)
    except docker.errors.NotFound:
        return None


def _is(container: Container, reference: str) -> bool:
    running: bool = container.attrs["State"]["Running"] and not container.attrs["State"]["Restarting"]
    return running and container.attrs["Config"]["Image"] == reference


def engine_failed(cluster: Cluster, error: Exception, node: Node | None = None) -> tuple[str, str]:
    """What a UserError says when the engine of a node, or else the registry's, failed."""
    node = node or cluster.registry_node
    said = str(getattr(error, "explanation", None) or error)
    fix = f"ping {node.address}"
    if _NO_FOLDER in said:
        fix = f"ssh {node.address} sudo mkdir -p {data_wanted(cluster)}, when the disk that it belongs on is mounted"
    return f"the engine of {node.name} ({node.address}): {said}", fix
