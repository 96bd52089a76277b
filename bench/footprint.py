"""`python -m bench.footprint`: the memory that each service of the stack is resident in, with 3 and with 20 targets."""

from __future__ import annotations

import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final
from urllib.parse import quote

import click
from docker.errors import DockerException

from bench import machine
from bench.makers import ours
from bench.report import at_most, markdown, place
from bench.site import Site, fresh
from bench.ways import BENCH
from image import cluster, plan, settings
from image.cluster import Cluster
from image.errors import UserError
from image.run import LOGS, end_as_by_ctrl_c, run
from image.stack.prove import Door
from image.stack.rollout import STACK
from lab import engine
from lab.progress import say
from lab.spec import CLONE

_README: Final = BENCH / "README.md"
_LOG: Final = LOGS / "bench-footprint.log"
_NODES: Final = 3
_EXPORTER: Final = f"{STACK}_node_exporter"
_MORE: Final = f"{STACK}_more"
_LOOKS: Final = 3
_BETWEEN: Final = 7.0  # seconds: no multiple of it is a health check's interval
_PATIENCE = 180.0  # seconds until the additional exporters run
_UP: Final = quote('count(up{job="node"} == 1)')
_UNKNOWN = "–"
_WORKER: Final = ("node_exporter", "web", "gateway")
_WATCHERS: Final = ("prometheus", "alertmanager")
PACKINGS: Final = {"as built": (), "unpacked": ("--no-upx",)}
"""How programs lie in the images -> what `build-all` is told."""
# Of each process of each container: the service, the container's id, and what the kernel says of its memory. The
# registry is no service; the engine is no container.
_SCRIPT = r"""
told() { for key in RssAnon RssFile RssShmem; do
	echo "$1 $2 $key $(awk -v key="$key:" '$1 == key { print $2 }' "/proc/$3/status" 2>/dev/null)"; done; }
for id in $(docker ps -q); do
	name=$(docker inspect -f '{{or (index .Config.Labels "com.docker.swarm.service.name") .Name}}' "$id")
	for pid in $(docker top "$id" -eo pid | tail -n +2); do told "$name" "$id" "$pid"; done
done
for pid in $(pgrep -x 'dockerd|containerd|containerd-shim.*'); do told engine engine "$pid"; done
"""


@dataclass(frozen=True)
class Resident:
    """Memory in bytes, as the kernel tells it of processes (proc(5), /proc/PID/status)."""

    own: int
    """Anonymous and shared: it can only be swapped."""
    file: int
    """Backed by files, mostly the program itself: the kernel may drop it, and reads it again."""

    @property
    def whole(self) -> int:
        """All of it."""
        return self.own + self.file

    def __str__(self) -> str:
        return f"{self.own / 1e6:.1f} + {self.file / 1e6:.1f}"


@dataclass(frozen=True)
class Taken:
    """One look: how the programs were packed, how many targets Prometheus had, and each service's largest task."""

    packing: str
    targets: int
    services: Mapping[str, Resident]

    def sum(self, names: Collection[str]) -> int | None:
        """Bytes of these services together; None where one is not there."""
        return sum(self.services[name].whole for name in names) if set(names) <= self.services.keys() else None


def parse(text: str) -> dict[str, Resident]:
    """What `_SCRIPT` printed on one node -> service -> its largest container there."""
    kilobytes: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in text.splitlines():
        found = re.fullmatch(r"/?(\S+) (\S+) (Rss\w+) (\d*)", line)
        if not found:
            raise UserError(f"a node says of its memory: {line!r}")
        name, container, key, value = found.groups()
        kilobytes[name.removeprefix(f"{STACK}_").removeprefix("pishelf-"), container][key] += int(value or 0)
    seen: dict[str, Resident] = {}
    for (name, _), rss in kilobytes.items():
        one = Resident((rss["RssAnon"] + rss["RssShmem"]) * 1024, rss["RssFile"] * 1024)
        seen[name] = largest([one, *([seen[name]] if name in seen else [])])
    return seen


def largest(all_of_it: Iterable[Resident]) -> Resident:
    """The one that takes most."""
    return max(all_of_it, key=lambda one: one.whole)


def middle(looks: Sequence[Mapping[str, Resident]]) -> dict[str, Resident]:
    """Of each service the look in the middle: in one of them its health check, a program of its own, may be running."""
    names = sorted(set[str].intersection(*(set(one) for one in looks)))
    return {name: sorted((one[name] for one in looks), key=lambda one: one.whole)[len(looks) // 2] for name in names}


def look(site: Site) -> dict[str, Resident]:
    """Every service's largest task of all nodes, but for the additional exporters."""
    client = engine.connect()
    found: dict[str, list[Resident]] = defaultdict(list)
    for node in site.nodes:
        done = client.containers.get(node.container).exec_run(["sh", "-c", _SCRIPT])
        if done.exit_code != 0 or not isinstance(done.output, bytes):
            raise UserError(f"{node.container} does not tell its memory: {done.output!r}")
        for name, resident in parse(done.output.decode()).items():
            found[name].append(resident)
    return {name: largest(every) for name, every in sorted(found.items()) if name != "more"}


@dataclass(frozen=True)
class Exporters:
    """More of the stack's own node_exporter, under its own name in DNS, so that Prometheus scrapes them as nodes."""

    swarm: Cluster

    def add(self, count: int) -> None:
        """Start so many, and wait until they run; raises UserError."""
        with self.swarm.manager() as client:
            (spec,) = (one.attrs["Spec"] for one in client.services.list(filters={"name": _EXPORTER}))
            task = {**spec["TaskTemplate"], "Placement": {}}
            container = {**task["ContainerSpec"], "Hostname": "more-{{.Task.Slot}}"}
            client.api.create_service(  # type: ignore[no-untyped-call]
                {**task, "ContainerSpec": container},
                name=_MORE,
                mode={"Replicated": {"Replicas": count}},
                endpoint_spec={"Mode": "dnsrr"},
            )
            end = monotonic() + _PATIENCE
            while self._running(client) < count:
                if monotonic() > end:
                    raise UserError(f"{self._running(client)} of {count} exporters run after {_PATIENCE:.0f} s")
                sleep(1)

    def remove(self) -> None:
        """Take them away again."""
        with self.swarm.manager() as client:
            client.services.get(_MORE).remove()  # type: ignore[no-untyped-call]

    def _running(self, client: Any) -> int:
        tasks = client.services.get(_MORE).tasks(filters={"desired-state": "running"})
        return sum(task["Status"]["State"] == "running" for task in tasks)


def measure(site: Site, targets: Sequence[int], minutes: float, packings: Sequence[str]) -> list[Taken]:
    """All looks: of each packing, with each number of targets, after so many minutes."""
    run("pyinfra", "-y", "lab/inventory.py", "deploys/swarm.py", cwd=CLONE, env={"LAB": site.lab.name}, log=_LOG)
    swarm = cluster.read(site.lab.name)
    platforms = [word for platform in swarm.platforms for word in ("--platform", str(platform))]
    taken = []
    for packing in packings:
        run(*ours(swarm, "build-all", *platforms, *PACKINGS[packing]), cwd=CLONE, log=_LOG)
        run(*ours(swarm, "deploy"), cwd=CLONE, log=_LOG)
        for count in targets:
            more = Exporters(swarm)
            if count > _NODES:
                more.add(count - _NODES)
            say(f"{packing}, {count} targets: {minutes:g} minutes of scraping")
            sleep(60 * minutes)
            _check(swarm, count)
            looks = [look(site)]
            while len(looks) < _LOOKS:
                sleep(_BETWEEN)
                looks.append(look(site))
            taken.append(Taken(packing, count, middle(looks)))
            if count > _NODES:
                more.remove()
    return taken


def _check(swarm: Cluster, count: int) -> None:
    """Raise UserError unless Prometheus scrapes so many nodes: the number would look small."""
    address = f"https://{swarm.nodes[0].address}:{settings.of(swarm).gateway_port}"
    url = f"{address}/prometheus/api/v1/query?query={_UP}"
    found = Door((address,), swarm.endpoint.tls).ask(url).json()["data"]["result"]
    if (up := int(found[0]["value"][1]) if found else 0) != count:
        raise UserError(f"Prometheus scrapes {up} node_exporters, and not {count}")


def limits(swarm: Cluster) -> dict[str, int]:
    """Each service's limit of memory in bytes."""
    with swarm.manager() as client:
        services = client.services.list(filters={"label": f"com.docker.stack.namespace={STACK}"})
        return {
            one.name.removeprefix(f"{STACK}_"): (one.attrs["Spec"]["TaskTemplate"].get("Resources") or {})
            .get("Limits", {})
            .get("MemoryBytes", 0)
            for one in services
        }


@dataclass(frozen=True)
class Results:
    """What a run gave."""

    taken: Sequence[Taken]
    limits: Mapping[str, int]


def tables(results: Results) -> str:
    """All tables, as Markdown, in megabytes."""
    looks = results.taken
    names = sorted({name for one in looks for name in one.services}, key=lambda name: (name == "engine", name))
    head = ["service", *(f"{one.packing}, {one.targets} targets" for one in looks), "limit"]
    rows = [
        [
            name,
            *(str(one.services[name]) if name in one.services else _UNKNOWN for one in looks),
            f"{results.limits[name] / 1e6:.0f}" if results.limits.get(name) else _UNKNOWN,
        ]
        for name in names
    ]
    goals = [row for one in looks for row in _goals(one) if row]
    parts = [markdown(head, rows)]
    if goals:
        parts.append(f"#### Goals\n\n{markdown(['what', 'goal', 'measured', 'met'], goals)}")
    return "\n\n".join(parts)


def _goals(one: Taken) -> list[list[str]]:
    worker, watchers = one.sum(_WORKER), one.sum(_WATCHERS)
    how = f"{one.packing}, {one.targets} targets"
    return [
        at_most(f"{' + '.join(_WORKER)}, {how}, MB", 80, worker / 1e6 if worker else None),
        at_most(f"{' + '.join(_WATCHERS)}, {how}, MB", 250, watchers / 1e6 if watchers else None),
    ]


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), default=10, show_default=True, help="Before each look."
)
@click.option(
    "--targets", type=click.IntRange(_NODES), multiple=True, default=(_NODES, 20), show_default=True, help="Repeatable."
)
@click.option("--packing", "packings", type=click.Choice(list(PACKINGS)), multiple=True, help="Only this.")
@click.option("--write", is_flag=True, help="Put the tables into bench/README.md.")
def main(minutes: float, targets: tuple[int, ...], packings: tuple[str, ...], write: bool) -> None:
    """Measure the memory of each service on three virtual Pis, with few and with many targets, packed and unpacked."""
    end_as_by_ctrl_c()  # the lab is removed then, too
    about = machine.describe(shlex.join(["python", "-m", "bench.footprint", *sys.argv[1:]]), {"Go": plan.go_version()})
    try:
        with fresh(_NODES, "") as site:
            taken = measure(site, targets, minutes, packings or list(PACKINGS))
            results = Results(taken, limits(cluster.read(site.lab.name)))
    except DockerException as error:
        raise UserError(f"the engine refused: {error}", "docker info, and again") from error
    text = f"{about} {minutes:g} minutes of scraping before each look.\n\n{tables(results)}"
    click.echo(text)
    if write:
        _README.write_text(place(_README.read_text(encoding="utf-8"), text, "footprint"), encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m bench.footprint")
