"""The registry moves to where its node's labels say: to another node, or to other data on the same one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import docker
import requests
from docker.models.containers import Container

from image import bootstrap, build, container, links, plan, stock, usage, verification
from image.cluster import Cluster, Node
from image.copying import Copied, copy
from image.errors import UserError
from image.progress import Progress, step
from image.registry import Login, Registry
from image.stock import Stock


@dataclass(frozen=True)
class Former:
    """A registry that is not where the labels say."""

    node: Node
    address: str
    data: str
    """A path on its node, or the name of a volume."""

    def registry(self, cluster: Cluster) -> Registry:
        """How to ask it; raises UserError where its login is not known here any more."""
        return replace(Registry.of(cluster), address=self.address, login=Login.read(cluster.credentials, self.address))


@dataclass(frozen=True)
class Move:
    """What was moved, and what a person does next."""

    lines: tuple[str, ...]


def move(cluster: Cluster, progress: Progress) -> Move:
    """Have all of it where the labels say, and leave what there was before; each blob is read there.

    Raises:
        UserError: a registry or an engine does not answer, or something is damaged. What was copied stays, the
            registry from before serves, and a second run goes on.
    """
    formers = find(cluster)
    said = [f"the registry is where it should be, {place(cluster)}"] if not formers else []
    for former in formers:
        copied = (_to_other_data if former.node == cluster.registry_node else _to_other_node)(cluster, former, progress)
        said.append(f"{former.data} on {former.node.name}: {copied} to {place(cluster)}, each blob read and whole")
    if formers:
        command = f"python -m image --context {cluster.name}"
        moved_node = any(former.node != cluster.registry_node for former in formers)
        deploy = [f"  {command} deploy, which has the services ask here"] if moved_node else []
        said += ["next:", *deploy, f"  {command} move-registry --remove-old"]
    return Move(tuple(said))


def place(cluster: Cluster) -> str:
    """Where the labels say."""
    return f"{container.data_wanted(cluster)} on {cluster.registry_node.name}"


def find(cluster: Cluster) -> tuple[Former, ...]:
    """The registries that are not where the labels say; those of nodes that do not answer are passed over."""
    own = [cluster.registry_node] if _data(cluster, cluster.registry_node) != container.data_wanted(cluster) else []
    nodes = (*own, *container.elsewhere(cluster))
    return tuple(former for former in (_former(cluster, node) for node in nodes) if former)


def remove_old(cluster: Cluster, progress: Progress) -> Move:
    """Take away what was moved: only if all of it is in the registry and no service asks the old one.

    Raises:
        UserError: a service has not been deployed since, or something is not there yet; nothing is removed.
    """
    formers = find(cluster)
    if here := [former for former in formers if former.node == cluster.registry_node]:
        raise UserError(f"the registry still has its data in {here[0].data}", "move-registry, without --remove-old")
    _refuse_used(cluster, formers)
    said = []
    for former in formers:
        _to_other_node(cluster, former, progress)
        with _engine(cluster, former.node) as client:
            if registry := bootstrap.find(client):
                registry.remove(force=True)
        said.append(f"removed the registry of {former.node.name}")
        said += _remove_data(cluster, former.node, former.data)
    if container.data_wanted(cluster) != container.NAME:
        said += _remove_data(cluster, cluster.registry_node, container.NAME)
    return Move(tuple(said or ["there is no old registry"]))


def _refuse_used(cluster: Cluster, formers: tuple[Former, ...]) -> None:
    for use in usage.read(cluster):
        for former in formers:
            if not use.former and use.image.startswith(f"{former.address}/"):
                raise UserError(
                    f"{use.service} has its image from {former.address}; nothing is removed",
                    f"python -m image --context {cluster.name} deploy",
                )


def _remove_data(cluster: Cluster, node: Node, data: str) -> list[str]:
    """Remove a volume; of a folder, say how."""
    if data.startswith("/"):
        return [f"its data stays: ssh {node.address} sudo rm -r {data}/docker"]
    with _engine(cluster, node) as client:
        try:
            client.volumes.get(data).remove()
        except docker.errors.NotFound:
            return []
    return [f"removed the volume {data} on {node.name}"]


def _to_other_node(cluster: Cluster, former: Former, progress: Progress) -> Copied:
    """The registry of the labelled node is started if it does not run, and gets what it lacks."""
    if not _runs(cluster):
        build.start_registry(cluster, *_own(cluster), build.default_jobs(), progress)
    source, target = former.registry(cluster), Registry.of(cluster)
    before = _sound(cluster, former)
    with step(progress, f"copy what {cluster.registry_node.name} lacks"):
        copied = copy(source, before, target)
    with _engine(cluster, cluster.registry_node) as client:
        _arrived(client, container.NAME, target, before, progress)
    return copied


def _to_other_data(cluster: Cluster, former: Former, progress: Progress) -> Copied:
    """A second registry has the new data while it is filled; then one with it takes the place of the first."""
    source = former.registry(cluster)
    what, image = _own(cluster)
    build.make_registry(cluster, what, image, build.default_jobs(), progress)
    with _engine(cluster, cluster.registry_node) as client:
        before = _sound(cluster, former)
        with _filling(cluster, client, image, source) as target:
            with step(progress, f"copy to {container.data_wanted(cluster)}"):
                copied = copy(source, before, target)
            _arrived(client, bootstrap.FILLING, target, before, progress)
        if _links(client, container.NAME) != before.links:
            raise UserError("something was pushed while the registry moved", "the same command again")
    with step(progress, "start the registry with it"):
        bootstrap.start(cluster, image)
    return copied


def _own(cluster: Cluster) -> tuple[plan.Plan, plan.Image]:
    """The registry's own image, for its node."""
    (image,) = plan.read([build.REGISTRY])
    return plan.Plan((image,), (cluster.registry_node.platform,)), image


@contextmanager
def _filling(cluster: Cluster, client: docker.DockerClient, image: plan.Image, source: Registry) -> Iterator[Registry]:
    """A registry with the new data, at a port of its own, while the body fills it."""
    registry = bootstrap.start_filling(cluster, client, image)
    try:
        (published,) = registry.attrs["NetworkSettings"]["Ports"][bootstrap.PORT][:1]
        target = replace(source, address=f"{cluster.registry_node.address}:{published['HostPort']}")
        bootstrap.wait(target, client)
        yield target
    finally:
        registry.remove(force=True)


def _former(cluster: Cluster, node: Node) -> Former | None:
    with _engine(cluster, node) as client:
        registry = bootstrap.find(client)
        if registry is None:
            return None
        (published,) = registry.attrs["HostConfig"]["PortBindings"][bootstrap.PORT][:1]
        return Former(node, f"{node.address}:{published['HostPort']}", container.data_of(registry.attrs))


def _data(cluster: Cluster, node: Node) -> str:
    """Where the node's registry has its data; where it should be if there is none."""
    with _engine(cluster, node) as client:
        registry = bootstrap.find(client)
        return container.data_of(registry.attrs) if registry else container.data_wanted(cluster)


def _runs(cluster: Cluster) -> bool:
    with _engine(cluster, cluster.registry_node) as client:
        registry = bootstrap.find(client)
        return registry is not None and registry.status == "running"


def _sound(cluster: Cluster, former: Former) -> Stock:
    """What a former registry holds; raises UserError where a part of it cannot be read."""
    with _engine(cluster, former.node) as client:
        found = stock.of(former.registry(cluster), _links(client, container.NAME))
    if found.damaged:
        what = "\n  ".join(found.damaged.values())
        raise UserError(
            f"nothing is moved while these are damaged in {former.address}:\n  {what}", "rm --force IMAGE:TAG"
        )
    return found


def _links(client: docker.DockerClient, name: str) -> links.Links:
    registry: Container = client.containers.get(name)
    return links.read(registry)


def _arrived(client: docker.DockerClient, name: str, registry: Registry, before: Stock, progress: Progress) -> None:
    """Read what has come, and give the tags their own age again; raises UserError where something is damaged."""
    running: Container = client.containers.get(name)
    found = links.read(running)
    if damage := verification.blobs(registry, stock.of(registry, found), progress):
        raise UserError(f"damaged in {registry.address}:\n  " + "\n  ".join(damage), "the same command again")
    links.date(running, links.same(before.links, found))


@contextmanager
def _engine(cluster: Cluster, node: Node) -> Iterator[docker.DockerClient]:
    """A node's engine; raises UserError where it does not answer or refuses."""
    try:
        with closing(cluster.engine(node).client()) as client:
            yield client
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*bootstrap.engine_failed(cluster, error, node)) from error
