"""The registry moves to where its node's labels say: to another node, or to other data on the same one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import docker
import requests
from docker.models.containers import Container

from image import plan
from image.builder import pipeline
from image.cluster import REGISTRY_DATA_LABEL, REGISTRY_LABEL, Cluster, Node
from image.errors import UserError
from image.progress import Progress, step
from image.registry import bootstrap, container, links, lock, stock, usage, verification
from image.registry.client import Login, Registry
from image.registry.copying import Copied, copy
from image.registry.stock import Stock


@dataclass(frozen=True)
class Former:
    """A registry that is not where the labels say, or what is left of one: its volume."""

    node: Node
    address: str
    data: str
    """A path on its node, or the name of a volume."""
    runs: bool = True
    """Whether there is a container with this data."""

    def registry(self, cluster: Cluster) -> Registry:
        """How to ask it; raises UserError where its login is not known here any more."""
        return replace(Registry.of(cluster), address=self.address, login=Login.read(cluster.credentials, self.address))

    def labelled(self, cluster: Cluster) -> Cluster:
        """The cluster with labels for a registry that has this volume."""

        def labels(node: Node) -> dict[str, str]:
            others = {
                key: value for key, value in node.labels.items() if key not in (REGISTRY_LABEL, REGISTRY_DATA_LABEL)
            }
            return {**others, REGISTRY_LABEL: self.address} if node == self.node else others

        return replace(cluster, nodes=tuple(replace(node, labels=labels(node)) for node in cluster.nodes))

    @property
    def folder(self) -> bool:
        return self.data.startswith("/")

    @property
    def removal(self) -> str:
        """How a person removes the folder."""
        return f"ssh {self.node.address} sudo rm -r {self.data}/docker"


@dataclass(frozen=True)
class Found:
    """The registries that are not where the labels say, and the nodes that could not be asked for one."""

    formers: tuple[Former, ...]
    silent: tuple[Node, ...]


@dataclass(frozen=True)
class Moved:
    """What was done, and what a person does next."""

    lines: tuple[str, ...]
    silent: tuple[Node, ...]
    """The nodes that could not be asked whether they have a registry."""

    def check(self, cluster: Cluster) -> None:
        """Raise UserError where a node was not asked: it may have what nobody has copied."""
        if self.silent:
            names = " and ".join(f"{node.name} ({node.address})" for node in self.silent)
            raise UserError(
                f"{names} could not be asked whether a registry is left there",
                f"the same command again when it answers; if it never will: {cluster.command} build-all",
            )


@dataclass(frozen=True)
class _Served:
    """A registry that answers, and its container."""

    registry: Registry
    container: Container


def move(cluster: Cluster, progress: Progress) -> Moved:
    """Have all of it where the labels say, and leave what there was before; each blob is read there.

    Raises:
        UserError: a registry or an engine does not answer, or something is damaged. What was copied stays, the
            registry from before serves, and a second run goes on.
    """
    with lock.alone(cluster, progress):
        found = find(cluster)
        said = []
        for former in found.formers:
            here = former.node == cluster.registry_node and former.runs
            copied = (_to_other_data if here else _to_labelled)(cluster, former, progress)
            said.append(f"{former.data} on {former.node.name}: {copied} to {place(cluster)}, each blob read and whole")
        if not found.formers and not found.silent:
            Registry.of(cluster).check()
            said.append(f"the registry is where it should be, {place(cluster)}")
        return Moved((*(said or ["nothing was moved"]), *_next(cluster, found.formers)), found.silent)


def _next(cluster: Cluster, formers: tuple[Former, ...]) -> list[str]:
    """What a person does when all is there."""
    command = cluster.command
    elsewhere = [former for former in formers if former.node != cluster.registry_node]
    folders = [former for former in formers if former.folder and former not in elsewhere]
    steps = [f"{command} deploy, which has the services ask here"] if elsewhere else []
    steps += [f"{command} move-registry --remove-old"] if len(folders) < len(formers) else []
    steps += [f"{former.removal}, when you are content" for former in folders]
    return ["next:", *(f"  {one}" for one in steps)] if steps else []


def place(cluster: Cluster) -> str:
    """Where the labels say."""
    return f"{container.data_wanted(cluster)} on {cluster.registry_node.name}"


def find(cluster: Cluster) -> Found:
    """Ask all nodes; raises UserError where the labelled one does not answer."""
    others = container.elsewhere(cluster)
    nodes = (cluster.registry_node, *others.nodes)
    return Found(tuple(former for node in nodes for former in _formers(cluster, node)), others.silent)


def _formers(cluster: Cluster, node: Node) -> list[Former]:
    """What a node has that the labels do not mean: a registry, and the volume of one whose container is gone."""
    own = node == cluster.registry_node
    wanted = container.data_wanted(cluster) if own else None
    found = []
    with _engine(cluster, node) as client:
        registry = bootstrap.find(client)
        has = container.data_of(registry.attrs) if registry else None
        if registry and has and has != wanted:
            (published,) = registry.attrs["HostConfig"]["PortBindings"][bootstrap.PORT][:1]
            found.append(Former(node, f"{node.address}:{published['HostPort']}", has))
        if container.NAME not in (has, wanted) and _volume(client):
            port = cluster.registry.rpartition(":")[2]
            address = cluster.registry if own else f"{node.address}:{port}"
            found.append(Former(node, address, container.NAME, runs=False))
    return found


def _volume(client: docker.DockerClient) -> bool:
    try:
        client.volumes.get(container.NAME)
    except docker.errors.NotFound:
        return False
    return True


def remove_old(cluster: Cluster, progress: Progress) -> Moved:
    """Take away what was moved: only if all of it is in the registry and no service asks the old one.

    Raises:
        UserError: a service has not been deployed since, or something is not there yet; nothing is removed.
    """
    with lock.alone(cluster, progress):
        found = find(cluster)
        for former in found.formers:
            if former.node == cluster.registry_node and former.runs:
                raise UserError(
                    f"the registry still has its data in {former.data}", "move-registry, without --remove-old"
                )
        _refuse_used(cluster, found.formers)
        said = []
        for former in found.formers:
            _to_labelled(cluster, former, progress)
            said += _remove(cluster, former)
        return Moved(tuple(said or ["there is no old registry"]), found.silent)


def _refuse_used(cluster: Cluster, formers: tuple[Former, ...]) -> None:
    addresses = {former.address for former in formers} - {cluster.registry}
    for use in usage.read(cluster):
        if not use.former and (address := use.image.partition("/")[0]) in addresses:
            raise UserError(
                f"{use.service} has its image from {address}; nothing is removed",
                f"{cluster.command} deploy",
            )


def _remove(cluster: Cluster, former: Former) -> list[str]:
    """Remove its container and its volume; of a folder, say how. A run that is cut off between finds the volume."""
    said = []
    with _engine(cluster, former.node) as client:
        if former.runs and (registry := bootstrap.find(client)):
            registry.remove(force=True)
            said.append(f"removed the registry of {former.node.name}")
        if former.folder:
            return [*said, f"its data stays: {former.removal}"]
        client.volumes.get(former.data).remove()
    return [*said, f"removed the volume {former.data} on {former.node.name}"]


def _to_labelled(cluster: Cluster, former: Former, progress: Progress) -> Copied:
    """The registry that the labels mean is started if it does not run, and gets what it lacks."""
    if not _runs(cluster):
        pipeline.start_registry(cluster, *_own(cluster), pipeline.default_jobs(), progress)
    with _serving(cluster, former, progress) as source, _engine(cluster, cluster.registry_node) as client:
        target = _Served(Registry.of(cluster), client.containers.get(container.NAME))
        return _fill(source, _sound(source), target, progress)


def _to_other_data(cluster: Cluster, former: Former, progress: Progress) -> Copied:
    """A second registry has the new data while it is filled; then one with it takes the place of the first."""
    what, image = _own(cluster)
    pipeline.make_registry(cluster, what, image, pipeline.default_jobs(), progress)
    with _serving(cluster, former, progress) as source:
        before = _sound(source)
        with _beside(cluster, image, source.registry) as target:
            copied = _fill(source, before, target, progress)
    with step(progress, "start the registry with it"):
        bootstrap.start(cluster, image, before.links)
    return copied


def _own(cluster: Cluster) -> tuple[plan.Plan, plan.Image]:
    """The registry's own image, for its node."""
    (image,) = plan.read([pipeline.REGISTRY])
    return plan.Plan((image,), (cluster.registry_node.platform,)), image


@contextmanager
def _serving(cluster: Cluster, former: Former, progress: Progress) -> Iterator[_Served]:
    """A former registry; where only its volume is left, one that has it while the body runs."""
    registry = former.registry(cluster)
    if former.runs:
        with _engine(cluster, former.node) as client:
            yield _Served(registry, client.containers.get(container.NAME))
        return
    then = former.labelled(cluster)
    what, image = _own(then)
    pipeline.make_registry(then, what, image, pipeline.default_jobs(), progress)
    with _beside(then, image, registry) as served:
        yield served


@contextmanager
def _beside(cluster: Cluster, image: plan.Image, like: Registry) -> Iterator[_Served]:
    """A registry with the data that the labels mean, at a port of its own, while the body runs."""
    with _engine(cluster, cluster.registry_node) as client:
        running = bootstrap.start_filling(cluster, client, image)
        try:
            (published,) = running.attrs["NetworkSettings"]["Ports"][bootstrap.PORT][:1]
            registry = replace(like, address=f"{cluster.registry_node.address}:{published['HostPort']}")
            bootstrap.wait(registry, client)
            yield _Served(registry, running)
        finally:
            running.remove(force=True)


def _runs(cluster: Cluster) -> bool:
    with _engine(cluster, cluster.registry_node) as client:
        registry = bootstrap.find(client)
        return registry is not None and registry.status == "running"


def _sound(source: _Served) -> Stock:
    """What a registry holds; raises UserError where a part of it cannot be read."""
    found = stock.of(source.registry, links.read(source.container))
    if found.damaged:
        what = "\n  ".join(found.damaged.values())
        raise UserError(
            f"nothing is moved while these are damaged in {source.registry.address}:\n  {what}", "rm --force IMAGE:TAG"
        )
    return found


def _fill(source: _Served, before: Stock, target: _Served, progress: Progress) -> Copied:
    """Copy what lacks, read all that is there then, and give the tags their own age again.

    Raises:
        UserError: either registry refuses something, or something is damaged.
    """
    with step(progress, f"copy what {target.registry.address} lacks"):
        copied = copy(source.registry, before, target.registry, links.read(target.container))
    found = links.read(target.container)
    if damage := verification.blobs(target.registry, stock.of(target.registry, found), progress):
        raise UserError(f"damaged in {target.registry.address}:\n  " + "\n  ".join(damage), "the same command again")
    links.date(target.container, links.same(before.links, found))
    return copied


@contextmanager
def _engine(cluster: Cluster, node: Node) -> Iterator[docker.DockerClient]:
    """A node's engine; raises UserError where it does not answer or refuses."""
    try:
        with closing(cluster.engine(node).client()) as client:
            yield client
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*bootstrap.engine_failed(cluster, error, node)) from error
