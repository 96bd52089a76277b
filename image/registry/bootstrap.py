"""The registry itself, as a plain container on the node that is labelled for it.

Not a service of the swarm: it comes back with its node's engine, before the swarm needs it, and its own
image does not have to be pulled from anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Any

import docker
import requests
from docker.models.containers import Container
from docker.types import Mount

from image.cluster import Cluster, Node
from image.errors import UserError
from image.plan import Image
from image.registry import links
from image.registry.client import NoAnswerError, Registry
from image.registry.container import BEFORE, DATA, data_wanted
from image.registry.container import NAME as CONTAINER

FILLING = "pishelf-registry-filling"
"""A second registry, with data that is to take the place of the first one's."""
PORT = "5000/tcp"  # in its own network; see Registry/root/etc/distribution/config.yml
_ANSWERS_WITHIN = 30.0
STOPS_WITHIN = 10
_NO_FOLDER = "bind source path does not exist"
_BUILD_CACHE = 256 * 1024**2


def start(cluster: Cluster, image: Image, copied: links.Links | None = None) -> None:
    """Start the registry from an image in its node's own engine, in the place of the one that runs.

    Args:
        copied: what the one that runs has and the new one's data, too; more must not be lost.

    Raises:
        UserError: it does not start or does not answer, or more was pushed; the one from before runs again then.
    """
    reference = image.reference(cluster.registry)
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            _put_back(client)
            before = find(client)
            if before is not None:
                before.rename(BEFORE)
                before.stop(timeout=STOPS_WITHIN)
            try:
                # Now that nobody can push any more.
                if before is not None and copied is not None and links.read(before) != copied:
                    raise UserError("something was pushed while the registry moved", "the same command again")
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


def _put_back(client: docker.DockerClient) -> None:
    """Give the registry from before its place again, where a new one was being tried."""
    before = find(client, BEFORE)
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


def engine_failed(cluster: Cluster, error: Exception, node: Node | None = None) -> tuple[str, str]:
    """What a UserError says when the engine of a node, or else the registry's, failed."""
    node = node or cluster.registry_node
    said = str(getattr(error, "explanation", None) or error)
    fix = f"ping {node.address}"
    if _NO_FOLDER in said:
        fix = f"ssh {node.address} sudo mkdir -p {data_wanted(cluster)}, when the disk that it belongs on is mounted"
    return f"the engine of {node.name} ({node.address}): {said}", fix
