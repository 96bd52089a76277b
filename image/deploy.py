"""References -> rendered stack -> `docker stack deploy` -> watched until it has converged."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker
import jinja2
import requests

from image import mirror, table, watch
from image.cluster import PROMETHEUS_LABEL, Cluster, Node
from image.errors import UserError
from image.published import Published
from image.run import run

STACK = "shelf"
FOLDER = Path(__file__).resolve().parent.parent / "stack"
TEMPLATE = FOLDER / "stack.yml.j2"

# `docker stack deploy` only tells the manager; what takes long is watched afterwards.
_TELLING = 120


@dataclass(frozen=True)
class Settings:
    """What the owner chooses, in `stack/settings.toml`."""

    retention_time: str
    retention_size: str
    web_replicas: int
    web_port: int
    prometheus_port: int


@dataclass(frozen=True)
class Config:
    """A file that the swarm hands to a service; its name changes with its content, for the swarm never changes one."""

    key: str
    name: str
    file: Path


@dataclass(frozen=True)
class Outcome:
    """What a deploy did."""

    changed: tuple[str, ...]
    """Services that are new or different."""
    removed: tuple[str, ...]
    restored: bool
    """Nothing was to be changed, but not all ran at first."""
    progress: tuple[watch.Progress, ...]

    def __str__(self) -> str:
        parts = [
            f"{word} {', '.join(names)}"
            for word, names in (("deployed", self.changed), ("removed", self.removed))
            if names
        ]
        if not parts:
            parts.append("nothing changed, waited until all ran" if self.restored else "nothing to do")
        return f"stack {STACK}: {', '.join(parts)}; {', '.join(map(str, self.progress))}"


def settings(file: Path = FOLDER / "settings.toml") -> Settings:
    """Read the owner's settings; raises UserError for a key that is unknown, missing or of the wrong kind."""
    chosen = table.read(Settings, file)
    for key in ("web_replicas", "web_port", "prometheus_port"):
        value = getattr(chosen, key)
        if value < 1 or ("port" in key and value > 65535):
            raise UserError(f"{file}: {key} = {value} is out of range")
    return chosen


def variables(cluster: Cluster, images: Mapping[str, str], chosen: Settings) -> dict[str, Any]:
    """All that the template may use; raises UserError where the swarm lacks what the stack needs.

    Args:
        images: name -> reference by digest.
    """
    role, replicas = _web(cluster.nodes, chosen.web_replicas)
    return {
        "cluster": cluster.name,
        "images": dict(images),
        "mirrors": mirror.references(cluster),
        "settings": asdict(chosen),
        "configs": configs(),
        # Without IPVS neither the routing mesh nor virtual addresses answer; DNS and host ports do.
        "port_mode": "ingress" if cluster.routes_ports else "host",
        "endpoint_mode": "vip" if cluster.routes_ports else "dnsrr",
        "prometheus_label": PROMETHEUS_LABEL,
        "prometheus_url": f"http://{prometheus_node(cluster).address}:{chosen.prometheus_port}",
        "web_role": role,
        "web_replicas": replicas,
    }


def prometheus_node(cluster: Cluster) -> Node:
    """The node that keeps Prometheus' data; raises UserError unless it is one and it is ready."""
    labelled = [node for node in cluster.nodes if node.labels.get(PROMETHEUS_LABEL, "").casefold() == "true"]
    if len(labelled) != 1:
        names = " and ".join(node.name for node in labelled)
        problem = f"{names} have" if labelled else f"no node of {cluster.name} has"
        raise UserError(
            f"{problem} the label {PROMETHEUS_LABEL}=true, and Prometheus keeps its data on one",
            f"{cluster.docker} node update --label-{'rm' if labelled else 'add'} "
            f"{PROMETHEUS_LABEL}{'' if labelled else '=true'} NODE",
        )
    if not labelled[0].ready:
        raise UserError(
            f"{labelled[0].name}, the node with Prometheus' data, is not ready to take tasks",
            f"{cluster.docker} node inspect --pretty {labelled[0].name}",
        )
    return labelled[0]


def _web(nodes: tuple[Node, ...], wanted: int) -> tuple[str, int]:
    """Role of the nodes that serve the page, and on how many of them: workers, or managers where there are none."""
    workers = [node for node in nodes if node.ready and node.role == "worker"]
    managers = [node for node in nodes if node.ready and node.role == "manager"]
    return ("worker", min(wanted, len(workers))) if workers else ("manager", min(wanted, len(managers)))


def configs(folder: Path = FOLDER / "configs") -> tuple[Config, ...]:
    """The files that the stack hands out as swarm configs, by their content."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return tuple(
        Config(file.stem, f"{STACK}_{file.stem}_{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}", file)
        for file in files
    )


def render(values: Mapping[str, Any], template: Path = TEMPLATE) -> str:
    """Fill in the template; raises UserError with its file and line where it asks for what there is not."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 -- it makes YAML, not HTML
    )
    try:
        return environment.get_template(template.name).render(values)
    except jinja2.TemplateNotFound as error:
        raise UserError(f"there is no template {template}", f"git checkout {template.name}") from error
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{template.name}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise UserError(
            f"{template.name}, line {_line_of(error, template)}: {error.message}",
            f"one of the variables {', '.join(sorted(values))}",
        ) from error


def compose(cluster: Cluster, images: Iterable[Published]) -> str:
    """The compose file for a swarm; raises UserError where something that it needs is not there."""
    return render(variables(cluster, {image.name: image.reference for image in images}, settings()))


def _line_of(error: BaseException, template: Path) -> int | str:
    """The template's line that raised; jinja2 puts it into the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(template)]
    return (frames[-1].lineno if frames else None) or "?"


def deploy(
    cluster: Cluster,
    images: Iterable[Published],
    timeout: float,
    show: Callable[[tuple[watch.Progress, ...]], None],
) -> Outcome:
    """Make the swarm run the stack, and see to it that it does.

    The manager is told every time, also if nothing seems to differ: that is quick, and repairs what
    somebody changed or removed by hand. What it changed is seen from the services before and after.

    Args:
        timeout: seconds until all must run.
        show: is told how far each service is.

    Raises:
        UserError: the template, the swarm or an image is not as needed (nothing is changed then), or
            the stack does not converge.
    """
    text = compose(cluster, images)
    try:
        with closing(cluster.endpoint.client()) as client:
            before = watch.read(client, STACK)
            _tell(cluster, text)
            after = watch.read(client, STACK)
            late = not watch.converged(watch.judge(after))
            if late or before.specs != after.specs:
                watch.watch(client, STACK, {task.id for task in before.tasks}, timeout, show, cluster.docker)
            return _outcome(before, after, late, watch.judge(watch.read(client, STACK)))
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(
            f"the manager of {cluster.name} at {cluster.endpoint.host} stopped answering: {error}",
            f"{cluster.docker} node ls; then deploy again",
        ) from error


def _tell(cluster: Cluster, text: str) -> None:
    run(
        *("docker", "stack", "deploy", "--prune", "--with-registry-auth"),
        # The references are digests: there is nothing to look up.
        *("--resolve-image", "never", "--compose-file", "-", STACK),
        env=cluster.environment,
        text=text,
        timeout=_TELLING,
    )


def _outcome(
    before: watch.Snapshot, after: watch.Snapshot, late: bool, progress: tuple[watch.Progress, ...]
) -> Outcome:
    changed = tuple(name for name, spec in after.specs.items() if before.specs.get(name) != spec)
    removed = tuple(name for name in before.specs if name not in after.specs)
    return Outcome(changed, removed, late and not changed and not removed, progress)
