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

from image.cluster import Cluster
from image.container import BEFORE
from image.container import NAME as CONTAINER
from image.errors import UserError
from image.plan import Image
from image.registry import NoAnswerError, Registry

_PORT = "5000/tcp"  # in its own network; see Registry/root/etc/distribution/config.yml
_ANSWERS_WITHIN = 30.0
_STOPS_WITHIN = 10
_BUILD_CACHE = 256 * 1024**2


def start(cluster: Cluster, image: Image) -> None:
    """Start the registry from an image in its node's own engine, in the place of the one that runs.

    Raises:
        UserError: it does not start or does not answer; the one from before runs again then.
    """
    reference = image.reference(cluster.registry)
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            _put_back(client)
            before = _find(client, CONTAINER)
            if before is not None:
                before.rename(BEFORE)
                before.stop(timeout=_STOPS_WITHIN)
            try:
                client.containers.run(reference, name=CONTAINER, detach=True, **_settings(cluster))
                _wait(Registry.of(cluster), client)
            except BaseException:
                if before is not None:
                    _put_back(client)
                    before.start()
                raise
            if before is not None:
                before.remove(force=True)
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*_engine(cluster, error)) from error


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
        raise UserError(*_engine(cluster, error)) from error


def _settings(cluster: Cluster) -> dict[str, Any]:
    port = int(cluster.registry.rpartition(":")[2])
    return {
        "restart_policy": {"Name": "always"},
        "ports": {_PORT: port},
        "mounts": [
            Mount("/etc/docker/tls", "/etc/docker/tls", type="bind", read_only=True),
            Mount("/etc/docker/registry", "/etc/docker/registry", type="bind", read_only=True),
            Mount("/var/lib/registry", CONTAINER, type="volume"),
        ],
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


def _put_back(client: docker.DockerClient) -> None:
    """Give the registry from before its place again, where a new one was being tried."""
    before = _find(client, BEFORE)
    if before is None:
        return
    tried = _find(client, CONTAINER)
    if tried is not None:
        tried.remove(force=True)
    before.rename(CONTAINER)


def _wait(registry: Registry, client: docker.DockerClient) -> None:
    """Until the registry answers over TLS and takes the login."""
    end = time.monotonic() + _ANSWERS_WITHIN
    while True:
        try:
            return registry.check()
        except NoAnswerError as error:
            container = _find(client, CONTAINER)
            state = container.attrs["State"] if container else {}
            if time.monotonic() > end or (state.get("Restarting") and state.get("ExitCode")):
                words = container.logs(tail=3).decode(errors="replace").strip() if container else ""
                raise UserError(f"the registry that was started does not answer: {error.message}\n  {words}") from error
        time.sleep(0.2)


def _find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except docker.errors.NotFound:
        return None


def _engine(cluster: Cluster, error: Exception) -> tuple[str, str]:
    node = cluster.registry_node
    said = getattr(error, "explanation", None) or error
    return f"the engine of {node.name} ({node.address}), which has the registry: {said}", f"ping {node.address}"
