"""References -> rendered stack -> `docker stack deploy` -> watched until it has converged."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import docker
import jinja2
import requests

from image import difference, dry_run, history, lint, mirror, published, status, table, watch
from image.cluster import PROMETHEUS_LABEL, Cluster, Node
from image.difference import Change
from image.errors import UserError
from image.history import Revision
from image.published import Published
from image.registry import Registry
from image.rollout import NAMESPACE_LABEL, STACK, Rollout, object_name, tell
from image.run import run
from image.status import Status

FOLDER = Path(__file__).resolve().parent.parent / "stack"
TEMPLATE = FOLDER / "stack.yml.j2"


_MARK = re.compile("\0(\\d+)\0")


@dataclass(frozen=True)
class Settings:
    """What the owner chooses, in `stack/settings.toml`."""

    keep_revisions: int
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
    file: str
    """Relative to the compose file."""
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What a deploy did."""

    changes: tuple[Change, ...]
    waited: bool
    """Not all ran at first, or not as it should."""
    revision: int
    new: bool
    """Whether the revision is one that the history had not."""
    progress: tuple[watch.Progress, ...]

    def __str__(self) -> str:
        removed = dict.fromkeys(change.service for change in self.changes if change.removes)
        deployed = dict.fromkeys(change.service for change in self.changes if not change.removes)
        words = (("deployed", deployed), ("removed", removed))
        parts = [f"{word} {', '.join(names)}" for word, names in words if names]
        if not parts:
            parts.append("nothing changed, waited until all ran" if self.waited else "nothing to do")
        revision = f"{'new revision' if self.new else 'revision'} {self.revision}"
        return f"stack {STACK}: {', '.join(parts)}; {', '.join(map(str, self.progress))}; {revision}"


def settings(file: Path = FOLDER / "settings.toml") -> Settings:
    """Read the owner's settings; raises UserError for a key that is unknown, missing or of the wrong kind."""
    chosen = table.read(Settings, file)
    for key in ("keep_revisions", "web_replicas", "web_port", "prometheus_port"):
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
        Config(file.stem, object_name(file.stem, data), f"{folder.name}/{file.name}", data)
        for file, data in ((file, file.read_bytes()) for file in files)
    )


def render(values: Mapping[str, Any], template: Path = TEMPLATE) -> str:
    """Fill in the template; raises UserError with its file and line where it asks for what there is not."""
    return _filled(values, template, lambda environment: environment.get_template(template.name))


def template_lines(values: Mapping[str, Any], template: Path = TEMPLATE) -> tuple[int, ...]:
    """The template's line that each line of what `render` makes of it comes from."""

    def marked(environment: jinja2.Environment) -> jinja2.Template:
        tree = environment.parse(template.read_text(encoding="utf-8"))
        for data in tree.find_all(jinja2.nodes.TemplateData):
            texts = enumerate(data.data.split("\n"), data.lineno)
            data.data = "\n".join(f"\0{number}\0{text}" for number, text in texts)
        return environment.from_string(tree)

    found = [1]
    for text in _filled(values, template, marked).split("\n"):
        mark = _MARK.match(text)  # none where an expression's value has lines of its own
        found.append(int(mark[1]) if mark else found[-1])
    return tuple(found[1:])


def _filled(values: Mapping[str, Any], template: Path, load: Callable[[jinja2.Environment], jinja2.Template]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 -- it makes YAML, not HTML
    )
    try:
        return load(environment).render(values)
    except jinja2.TemplateNotFound as error:
        raise UserError(f"there is no template {template}", f"git checkout {template.name}") from error
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{template.name}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise UserError(
            f"{template.name}, line {_line_of(error, template)}: {error.message}",
            f"one of the variables {', '.join(sorted(values))}",
        ) from error


def compose(cluster: Cluster, images: Iterable[Published]) -> Rollout:
    """The stack for a swarm, from the clone; raises UserError where something that it needs is not there."""
    images = tuple(images)
    text = render(variables(cluster, {image.name: image.reference for image in images}, settings()))
    files = {config.file: config.data for config in configs()}
    return Rollout(text, files, {image.reference: image.tag for image in images})


def checked(cluster: Cluster, images: Iterable[Published]) -> Rollout:
    """The stack for a swarm, after a look at what would go wrong; raises UserError with all of it at once."""
    images = tuple(images)
    stack = compose(cluster, images)
    with _manager(cluster) as client:
        others = lint.published_ports(client.api.services(), STACK, cluster.nodes)  # type: ignore[no-untyped-call]
    platforms = {image.reference: image.platforms for image in images}
    port = int(cluster.registry.rpartition(":")[2])
    found = lint.lint(stack.compose, lint.Swarm(cluster.nodes, others, platforms, port))
    if found:
        values = variables(cluster, {image.name: image.reference for image in images}, settings())
        lines = template_lines(values)
        said = "\n".join(f"  {TEMPLATE.name}, line {lines[one.line - 1]}: {one.message}" for one in found)
        raise UserError(f"the stack would not do what it says:\n{said}", "python -m image render shows it filled in")
    return stack


def _line_of(error: BaseException, template: Path) -> int | str:
    """The template's line that raised; jinja2 puts it into the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(template)]
    return (frames[-1].lineno if frames else None) or "?"


def deploy(
    cluster: Cluster,
    rollout: Rollout,
    timeout: float,
    show: Callable[[tuple[watch.Progress, ...]], None],
    note: str = "",
) -> Outcome:
    """Make the swarm run a stack, see to it that it does, and have it remembered as a revision.

    The manager is told where what runs differs from what is wanted, also if somebody changed it by hand. A
    rollout that fails stays in the history, as one that failed.

    Args:
        timeout: seconds until all must run.
        show: is told how far each service is.
        note: what the history says of a new revision.

    Raises:
        UserError: docker or the swarm refuses the stack (nothing is changed then), or it does not converge.
    """
    with _manager(cluster) as client:
        plan = _plan(cluster, rollout, client)
        revision = plan.revision or history.write(client, history.begun(plan.revisions, rollout, note))
        try:
            progress = _roll_out(cluster, rollout, client, plan, timeout, show)
        except UserError:
            if not revision.good:
                history.settle(client, revision, "failed")
            raise
        if not revision.good:
            history.settle(client, revision, "good")
        return Outcome(plan.changes, plan.late, revision.number, plan.revision is None, progress)


def changes(cluster: Cluster, rollout: Rollout) -> tuple[Change, ...]:
    """What a deploy would change in the services that run; raises UserError."""
    with _manager(cluster) as client:
        return _plan(cluster, rollout, client).changes


def revisions(cluster: Cluster) -> tuple[Revision, ...]:
    """All that the swarm remembers, the oldest first; raises UserError."""
    with _manager(cluster) as client:
        return history.read(client)


def status_of(cluster: Cluster) -> Status:
    """How the stack is; raises UserError."""
    with _manager(cluster) as client:
        return status.read(client)


def rollback(
    cluster: Cluster, number: int | None, timeout: float, show: Callable[[tuple[watch.Progress, ...]], None]
) -> Outcome:
    """Go back to a revision, by default the good one before the last; all comes from the swarm.

    Raises:
        UserError: there is no such revision, the registry has lost an image of it, or as `deploy` does.
    """
    with _manager(cluster) as client:
        revision = history.wanted(history.read(client), number)
    if missing := published.missing(Registry.of(cluster), history.references([revision])):
        raise UserError(
            f"revision {revision.number} needs what the registry at {cluster.registry} no longer has: "
            + ", ".join(missing),
            "another revision: python -m image history",
        )
    return deploy(cluster, revision.rollout, timeout, show, f"rollback to {revision.number}")


def prune(cluster: Cluster, keep: int) -> tuple[str, ...]:
    """Forget all but the newest revisions, and the configs and secrets that nothing needs any more.

    Returns:
        The names of what was removed.

    Raises:
        UserError: the manager stopped answering.
    """
    with _manager(cluster) as client:
        return history.prune(client, keep)


@dataclass(frozen=True)
class _Plan:
    """What is, and what is to be done."""

    revisions: tuple[Revision, ...]
    revision: Revision | None
    """The one that there is of this very stack, where it is the last."""
    before: watch.Snapshot
    changes: tuple[Change, ...]
    stale: tuple[str, ...]
    """Services whose image somebody changed by hand."""

    @property
    def late(self) -> bool:
        """Whether something has to be waited for."""
        return bool(self.changes) or not watch.converged(watch.judge(self.before))


def _plan(cluster: Cluster, rollout: Rollout, client: docker.DockerClient) -> _Plan:
    """Ask all at once."""
    ours = {"label": f"{NAMESPACE_LABEL}={STACK}"}
    with ThreadPoolExecutor(max_workers=5) as pool:
        foretold = pool.submit(dry_run.foretell, rollout, cluster, client)
        past = pool.submit(history.read, client)
        snapshot = pool.submit(watch.read, client, STACK)
        services = pool.submit(client.api.services, filters=ours)
        networks = pool.submit(client.api.networks)
        running = {attrs["Spec"]["Name"].removeprefix(f"{STACK}_"): attrs["Spec"] for attrs in services.result()}
        names = {network["Id"]: network["Name"] for network in networks.result()}
        wanted = foretold.result()
        revisions = past.result()
        last = revisions[-1] if revisions and revisions[-1].rollout == rollout else None
        stale = tuple(name for name, spec in running.items() if name in wanted and _stale(spec, wanted[name]))
        return _Plan(revisions, last, snapshot.result(), difference.compare(running, wanted, names), stale)


def _stale(running: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    image = wanted["TaskTemplate"]["ContainerSpec"]["Image"]
    return bool(
        running["Labels"].get(dry_run.IMAGE_LABEL) == image
        and running["TaskTemplate"]["ContainerSpec"]["Image"] != image
    )


def _roll_out(
    cluster: Cluster,
    rollout: Rollout,
    client: docker.DockerClient,
    plan: _Plan,
    timeout: float,
    show: Callable[[tuple[watch.Progress, ...]], None],
) -> tuple[watch.Progress, ...]:
    if plan.late:
        for name in plan.stale:
            # docker leaves the image alone where the label says that it has not changed
            label = ("--label-rm", dry_run.IMAGE_LABEL)
            run("docker", "service", "update", "--detach", *label, f"{STACK}_{name}", env=cluster.environment)
        # An update that failed is forgotten by telling again, also where nothing differs.
        tell(rollout, cluster)
        known = {task.id for task in plan.before.tasks}
        watch.watch(client, STACK, known, timeout, show, cluster.docker)
    return watch.judge(watch.read(client, STACK))


@contextmanager
def _manager(cluster: Cluster) -> Iterator[docker.DockerClient]:
    """A client of the swarm's manager, whose silence is told in words."""
    try:
        with closing(cluster.endpoint.client()) as client:
            yield client
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(
            f"the manager of {cluster.name} at {cluster.endpoint.host} stopped answering: {error}",
            f"{cluster.docker} node ls; then the same command again",
        ) from error
