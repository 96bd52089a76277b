"""Whether the cluster does what it is for: measured where its owner would look, not assumed.

Each measure is one function that returns one `Measure`; `prove` takes them side by side.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import docker
import requests

from image.builder import start
from image.builder.published import resolve
from image.cluster import Cluster, Node
from image.errors import UserError
from image.plan import Image
from image.platform import Platform
from image.registry.client import Registry
from image.run import run
from image.stack import watch
from image.stack.rollout import STACK

# An engine that found no other at its start, as after a power cut, looks for them again a minute later;
# Prometheus looks for nodes every 10 s and scrapes every 15 s; a Pi is slow besides.
_PATIENCE = 150.0
_POLL = 1.0
_ANSWER = 5.0
# Over a slow network and onto a slow card.
_PULL = 300.0
_IMPATIENCE = 10.0
# Pulls and emulators side by side: more do not help an engine on a card.
_SIDE_BY_SIDE = 4
# Series of what was scraped. Not of the scrape itself (`up`, `scrape_…`): Prometheus makes these from the
# target's labels, and DNS knows a node_exporter's address only.
_NAMED = "count by (node) (count_over_time(node_load1[40s]))"
# Only what was scraped just now: series from before a restart of Prometheus stay in sight for five minutes.
_NAMELESS = 'count by (job) (count_over_time({job!="",node="",__name__!~"up|scrape_.+"}[40s]))'
_SERVED_BY = re.compile(r'<meta name="served-by" content="([^"]*)">')

_PROMETHEUS = "/prometheus"  # where the gateway has it

_NEXT = ("node ls", f"stack ps {STACK}", f"service logs --follow {STACK}_prometheus")


@dataclass(frozen=True)
class Measure:
    """One thing that was looked at."""

    what: str
    ok: bool
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class Door:
    """The gateways of the nodes that are ready, and what opens them."""

    addresses: tuple[str, ...]
    """`https://ADDRESS`, without a slash at its end."""
    tls: Path | None = None
    """The folder with the client certificate and the CA, in Docker's own file names."""

    def ask(self, url: str, *, certified: bool = True) -> requests.Response:
        """GET; raises requests.RequestException.

        The cluster itself is asked, whatever proxy the environment names for the world outside.
        """
        with requests.Session() as session:
            session.trust_env = False
            if self.tls is not None:
                session.verify = str(self.tls / "ca.pem")
                session.cert = (str(self.tls / "cert.pem"), str(self.tls / "key.pem")) if certified else None
            return session.get(url, timeout=_ANSWER)

    def curl(self, url: str) -> str:
        """How a person asks the same."""
        if self.tls is None:
            return f"curl -i {url}"
        return f"curl -i --cacert {self.tls}/ca.pem --cert {self.tls}/cert.pem --key {self.tls}/key.pem {url}"


@dataclass(frozen=True)
class Program:
    """An image's program for one platform, as the registry has it."""

    image: Image
    platform: Platform
    reference: str
    """By the digest of this platform's manifest, so that a node's own image of that name stays as it is."""


@dataclass(frozen=True)
class Proof:
    """All measures, and where a person may look for himself."""

    measures: tuple[Measure, ...]
    addresses: dict[str, tuple[str, ...]]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(measure.ok for measure in self.measures)

    def json(self) -> str:
        """The proof for a machine."""
        return json.dumps({"ok": self.ok, **asdict(self)}, indent=2)

    def lines(self, docker_command: str) -> list[str]:
        """The proof for a person: what was seen, where to look, what to type next."""
        width = max(len(text) for text in (*(measure.what for measure in self.measures), *self.addresses))
        told = []
        for measure in self.measures:
            told.append(f"{'✓' if measure.ok else '✗'} {measure.what:{width}}  {measure.seen}")
            if measure.fix and not measure.ok:
                told.append(f"    Try: {measure.fix}")
        told += ["", "Open"]
        told += [f"  {name:{width}}  {'  '.join(where) or 'nowhere yet'}" for name, where in self.addresses.items()]
        told += ["", "Next"]
        told += [f"  {docker_command} {command}" for command in _NEXT]
        return told


def prove(cluster: Cluster, images: Iterable[Image], patience: float = _PATIENCE) -> Proof:
    """Take every measure; raises UserError only where the manager does not answer.

    Args:
        images: what the stack and the registry run; each arm program is to be pulled and started once.
        patience: seconds that a measure may take to come true.
    """
    snapshot = _snapshot(cluster)
    door = Door(addresses(snapshot, "gateway"), _certificates(cluster))
    ready = [node for node in cluster.nodes if node.ready]
    if any(not node.ready and not node.spared for node in cluster.nodes):
        patience = min(patience, _IMPATIENCE)  # the verdict is clear, and a person waits for it
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        looks = [
            pool.submit(nodes_ready, cluster.nodes, cluster.docker),
            pool.submit(services_run, cluster, snapshot, patience),
            pool.submit(door_closed, door, ready, patience),
            pool.submit(pages_answer, door, ready, patience),
            pool.submit(targets_up, door, ready, patience),
        ]
        listed, refused = _listed(cluster, images)
        starting = [pool.submit(program_starts, cluster, program) for program in listed]
        measures = [look.result() for look in looks]
        started = [(program, task.result()) for program, task in zip(listed, starting, strict=True)]
    return Proof(
        (*measures, *refused, *programs_start(started)),
        {"the page": door.addresses, "Prometheus": tuple(f"{one}{_PROMETHEUS}/" for one in door.addresses)},
    )


def _certificates(cluster: Cluster) -> Path | None:
    """The context's; of one without TLS, as a manager's own socket, those in the cluster's folder, if there are any."""
    ours = cluster.credentials
    return cluster.endpoint.tls or (ours if (ours / "cert.pem").is_file() else None)


def _snapshot(cluster: Cluster) -> watch.Snapshot:
    try:
        with closing(cluster.endpoint.client()) as client:
            return watch.read(client, STACK)
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(
            f"the manager of {cluster.name} at {cluster.endpoint.host} does not answer: {error}",
            f"{cluster.docker} node ls",
        ) from error


def addresses(snapshot: watch.Snapshot, name: str) -> tuple[str, ...]:
    """Where a service is published: in host mode at its nodes, else at every node; at those that are ready.

    A global service's nodes are all that may run it, also one where it is still starting: that one is waited for.
    """
    service = snapshot.service(name)
    if service is None:
        return ()
    if service.replicas is None:
        hosts = {node.id for node in watch.eligible(snapshot.nodes, service)}
    else:
        hosts = {task.node for task in snapshot.running(service)}
    return tuple(
        node.https(port)
        for port, mode in service.ports
        for node in sorted(snapshot.nodes, key=lambda node: node.name)
        if node.ready and (mode != "host" or node.id in hosts)
    )


def nodes_ready(nodes: Sequence[Node], docker_command: str = "docker") -> Measure:
    """Every node of the swarm takes tasks, but for those that a person spares."""
    away = [node.name for node in nodes if not node.ready and not node.spared]
    if away:
        fix = f"{docker_command} node inspect --pretty {away[0]}"
        return Measure("nodes", False, f"not ready: {', '.join(away)}", fix)
    ready = [node.name for node in nodes if node.ready]
    spared = "".join(f"; {node.name} is drained or paused" for node in nodes if node.spared)
    return Measure("nodes", True, f"{len(ready)} ready: {', '.join(ready)}{spared}")


def services_run(cluster: Cluster, snapshot: watch.Snapshot, patience: float) -> Measure:
    """Every service of the stack has its replicas."""

    def look(now: watch.Snapshot) -> Measure:
        if not now.services:
            return Measure("services", False, "the stack is not deployed", "python -m image deploy")
        progress = watch.judge(now, {task.id for task in snapshot.tasks})
        short = [one for one in progress if one.phase != "converged"]
        return Measure(
            "services",
            not short,
            ", ".join(map(str, progress)),
            f"{cluster.docker} service ps --no-trunc {STACK}_{short[0].name}" if short else "",
        )

    first = look(snapshot)
    return first if first.ok or not snapshot.services else _until(lambda: look(_snapshot(cluster)), patience)


def door_closed(door: Door, nodes: Sequence[Node], patience: float) -> Measure:
    """Each ready node has a gateway with a certificate of the cluster's CA, and none lets a stranger in."""
    what = "the gateway"

    def look() -> Measure:
        for address in door.addresses:
            try:
                answer = door.ask(address, certified=False)
            except requests.RequestException as error:
                return Measure(what, False, f"{address} gives no answer: {error}", door.curl(address))
            if answer.status_code != requests.codes.unauthorized:
                told = f"{address} answers {answer.status_code} to whoever asks"
                return Measure(what, False, told, f"curl -ik {address}")
        if len(door.addresses) < len(nodes):
            told = f"on {len(door.addresses)} of {len(nodes)} nodes"
            return Measure(what, False, told, "python -m image status")
        return Measure(what, True, f"on {len(nodes)} of {len(nodes)} nodes, and asks who comes")

    return _until(look, patience) if door.addresses else _nobody(what)


def _nobody(what: str) -> Measure:
    return Measure(what, False, "no gateway is running", "python -m image deploy")


def targets_up(door: Door, nodes: Sequence[Node], patience: float) -> Measure:
    """Prometheus scrapes one node_exporter on each ready node, and knows each node by its name."""
    what = "Prometheus' targets"
    if not door.addresses:
        return _nobody(what)
    names = {node.name for node in nodes}
    prometheus = f"{door.addresses[0]}{_PROMETHEUS}"

    def look() -> Measure:
        try:
            targets = _ask(door, f"{prometheus}/api/v1/targets?state=active")["activeTargets"]
            found = _query(door, prometheus, _NAMED)
            nameless = _query(door, prometheus, _NAMELESS)
        except (requests.RequestException, KeyError, ValueError) as error:
            fix = door.curl(f"{prometheus}/-/ready")
            return Measure(what, False, f"{prometheus} gives no answer: {error}", fix)
        measure = judge_targets(targets, {one["metric"].get("node", "") for one in found}, names, prometheus)
        if measure.ok and nameless:
            jobs = ", ".join(sorted(one["metric"].get("job", "no job") for one in nameless))
            return Measure(what, False, f"series without a node's name: {jobs}", f"open {prometheus}/targets")
        return measure

    return _until(look, patience)


def judge_targets(targets: Sequence[dict[str, Any]], measured: set[str], names: set[str], address: str) -> Measure:
    """Compare what Prometheus scrapes with what there is.

    Args:
        targets: `activeTargets` of GET /api/v1/targets.
        measured: the nodes' names on the series that Prometheus has of them.
        names: the ready nodes'.
    """
    what = "Prometheus' targets"
    nodes = [target for target in targets if target["scrapePool"] == "node"]
    down = [target for target in targets if target["health"] != "up"]
    up = len(nodes) - sum(target["scrapePool"] == "node" for target in down)
    if down:
        reason = f"{down[0]['scrapeUrl']} is {down[0]['health']}: {down[0]['lastError'] or 'not scraped yet'}"
        return Measure(what, False, f"{up} of {len(names)} nodes up; {reason}", f"open {address}/targets")
    if up != len(names) or measured != names:
        away = measured - names - {""}
        lost = [f"not seen: {', '.join(sorted(names - measured))}"] if names - measured else []
        left = [f"seen a moment ago, and not ready: {', '.join(sorted(away))}"] if away else []
        seen = "; ".join((f"{up} of {len(names)} nodes up", *lost, *left))
        return Measure(what, False, seen, f"open {address}/targets")
    return Measure(what, True, f"{up} of {len(names)} nodes up, each with its name: {', '.join(sorted(measured))}")


def pages_answer(door: Door, nodes: Sequence[Node], patience: float) -> Measure:
    """By each gateway the cluster's certificate leads to the tiny server's page, which names a node of this swarm."""
    what = "the page"
    names = {node.name for node in nodes}

    def look() -> Measure:
        served = []
        for page in door.addresses:
            try:
                answer = door.ask(page)
            except requests.RequestException as error:
                return Measure(what, False, f"{page} gives no answer: {error}", door.curl(page))
            by = _SERVED_BY.search(answer.text)
            if answer.status_code != requests.codes.ok or by is None or by[1] not in names:
                told = f"names {by[1]!r}, no node of this swarm" if by else "is not our page"
                return Measure(what, False, f"{page} ({answer.status_code}) {told}", door.curl(page))
            served.append(f"{page} by {by[1]}")
        return Measure(what, True, ", ".join(served))

    return _until(look, patience) if door.addresses else _nobody(what)


def _listed(cluster: Cluster, images: Iterable[Image]) -> tuple[tuple[Program, ...], tuple[Measure, ...]]:
    """The programs to start, or the measure that tells why the registry does not say."""
    try:
        return programs(cluster, images), ()
    except UserError as error:
        return (), (Measure("images", False, error.message),)


def programs(cluster: Cluster, images: Iterable[Image]) -> tuple[Program, ...]:
    """The arm programs of images, as the registry's indexes list them; raises UserError."""
    images = tuple(images)
    references = {published.name: published.reference for published in resolve(cluster, images)}
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        registry = Registry.of(cluster)
        found = pool.map(lambda image: _manifests(registry, references[image.name]), images)
        return tuple(
            Program(image, platform, f"{references[image.name].partition('@')[0]}@{digest}")
            for image, manifests in zip(images, found, strict=True)
            for platform, digest in sorted(manifests.items())
            if platform.architecture in ("arm", "arm64")
        )


def _manifests(registry: Registry, reference: str) -> Mapping[Platform, str]:
    """Each platform's digest in an index; raises UserError."""
    name, _, digest = reference.removeprefix(f"{registry.address}/").partition("@")
    index = registry.index(name, digest)
    if index is None:
        raise UserError(f"{reference} is not in the registry any more", "python -m image build-all")
    return index.manifests


def program_starts(cluster: Cluster, program: Program) -> str:
    """Pull a program's image by a node's engine, take the program out of it and start it; "" if it did.

    Otherwise what went wrong. Nothing stays on the node: the container is never started.
    """
    with TemporaryDirectory(prefix="pishelf-") as folder:
        file = Path(folder, program.image.about.program)
        try:
            _take_out(cluster, program, file)
            start.prove(file, program.image, program.platform)
        except UserError as error:
            return error.message
    return ""


def _take_out(cluster: Cluster, program: Program, file: Path) -> None:
    """Copy to `file` what a container of the image would run."""
    environment = {**cluster.environment, **cluster.engine(_puller(cluster)).environment}

    def engine(*words: str | Path) -> str:
        return run("docker", *words, env=environment, timeout=_PULL).strip()

    engine("pull", "--quiet", "--platform", str(program.platform), program.reference)
    try:
        container = engine("create", "--platform", str(program.platform), program.reference)
        try:
            path = engine("inspect", "--format", "{{.Path}}", container)
            engine("cp", f"{container}:{path}", file)
        finally:
            engine("rm", container)
    finally:
        engine("rmi", program.reference)


def _puller(cluster: Cluster) -> Node:
    """The node that pulls: a worker if there is one, for a manager may have built the images and have them."""
    ready = [node for node in cluster.nodes if node.ready]
    return max(ready or cluster.nodes, key=lambda node: (node.role == "worker", node.name))


def programs_start(started: Sequence[tuple[Program, str]]) -> tuple[Measure, ...]:
    """One measure an image: on which platforms its program starts, or why it does not."""
    measures = []
    for name in dict.fromkeys(program.image.name for program, _ in started):
        ours = [(str(program.platform), error) for program, error in started if program.image.name == name]
        broken = [f"{platform}: {error}" for platform, error in ours if error]
        seen = "; ".join(broken) or f"pulled, starts on {', '.join(platform for platform, _ in ours)}"
        measures.append(Measure(name, not broken, seen, "python -m image build-all" if broken else ""))
    return tuple(measures)


def _until(look: Callable[[], Measure], patience: float) -> Measure:
    """The first good measure, or the last one when patience ends."""
    end = time.monotonic() + patience
    while True:
        measure = look()
        if measure.ok or time.monotonic() >= end:
            return measure
        time.sleep(_POLL)


def _query(door: Door, address: str, query: str) -> list[dict[str, Any]]:
    """The series that a query of Prometheus gives, now."""
    found: list[dict[str, Any]] = _ask(door, f"{address}/api/v1/query?{urlencode({'query': query})}")["result"]
    return found


def _ask(door: Door, url: str) -> Any:
    """The `data` of an answer of Prometheus' API."""
    answer = door.ask(url)
    answer.raise_for_status()
    return answer.json()["data"]
