"""A made-up shelf of Pis whose measurements lie in a real Prometheus, and the tiny server's page beside it.

The measurements go some minutes into the future, so that Prometheus, which scrapes nobody here, has news all the time.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from image import plan
from image.builder import debian
from tests.checkers import checker
from tests.commands import ROOT, free_port, no_proxy, until
from tests.image.programs import OWN

HOUR = 3600
AHEAD = 15 * 60
# Each is a measurement of this many seconds of the past: fine ones of the last minutes, coarse ones before.
FINE, COARSE = 15, 60


@dataclass(frozen=True)
class Pi:
    """A node of the made-up shelf, and how it is. Times are seconds from now, so those of the past are negative."""

    name: str
    load: float = 0.4
    memory: float = 0.35
    temperature: float | None = 46
    model: str = "Raspberry Pi 4 Model B Rev 1.4"
    role: str = "worker"
    ready: bool = True
    availability: str = "active"
    voltage: tuple[int, int] | None = (0, 0)
    """Under-voltage now, and since boot; None where no sensor says."""
    disk: float = 0.22
    card: float = 29e9
    up: float = 12.3 * 86400
    until: float = AHEAD
    """When it was measured last."""
    member: bool = True
    textfile_age: float = 5
    cores: int = 4
    bytes: float = 4e9
    reboot: int = 0
    gateway: bool = False
    """Whether its gateway is measured all the time, whatever its node_exporter does."""
    excused: bool = False
    """Whether the rules say that the swarm does not miss it."""
    leads: bool | None = None
    """What its engine says of itself, if it says anything."""

    def wave(self, value: float, at: float, swing: float = 0.35) -> float:
        """A value of the past, which comes to `value` now and goes on with it."""
        phase = len(self.name) + 2 * ord(self.name[-1])
        calm = max(0.0, min(1.0, -at / 900))  # the last minutes are as said
        waves = 0.5 * math.sin(at / 1900 + phase) + 0.2 * math.sin(at / 611 + 2 * phase) + 0.15 * math.sin(at / 173)
        work = max(0.0, math.sin(at / 1500 + 1.7 * phase + 20 * swing)) ** 12  # something that it does every few hours
        return max(0.0, value * (1 + swing * calm * (waves + 2.5 * work)))


PI1 = Pi("pi1", 0.42, 0.38, 47, role="manager")
PI2 = Pi("pi2", 1.31, 0.61, 58, "Raspberry Pi 5 Model B Rev 1.0", bytes=8e9, disk=0.41)
PI3 = Pi("pi3", 0.08, 0.54, 41, "Raspberry Pi Zero 2 W Rev 1.0", bytes=0.5e9, disk=0.63, up=3.4 * 86400)
SERVICES = {
    "shelf_gateway": (3, 3),
    "shelf_node_exporter": (3, 3),
    "shelf_prometheus": (1, 1),
    "shelf_alertmanager": (1, 1),
    "shelf_web": (2, 2),
}
REVISIONS = (
    {"revision": "3", "state": "good", "by": "anna@laptop", "source": "cdcef4f-dirty", "at": "-5400"},
    {"revision": "2", "state": "failed", "by": "anna@laptop", "source": "b81e77030c12", "at": "-9000"},
    {"revision": "1", "state": "good", "by": "anna@laptop", "source": "0a5d3c6611fe", "at": "-777600"},
)
LINKED = "prometheus alertmanager grafana"
WATCHDOG = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}}


@dataclass(frozen=True)
class Shelf:
    """All that Prometheus knows."""

    pis: tuple[Pi, ...] = (PI1, PI2, PI3)
    services: Mapping[str, tuple[int, int]] = field(default_factory=lambda: SERVICES)
    """Running and desired tasks."""
    revisions: Sequence[Mapping[str, str]] = REVISIONS
    alerts: tuple[Mapping[str, Any], ...] = (WATCHDOG,)
    hours: float = 6.5
    ends: float = AHEAD
    """When the last measurement of all was."""
    leaders: tuple[str, ...] = ("pi1",)
    """Who tells how the swarm is: nobody where there is no quorum, and two just after a change."""

    def with_pi(self, name: str, **changed: Any) -> Shelf:
        """The same with one Pi otherwise."""
        return replace(self, pis=tuple(replace(pi, **changed) if pi.name == name else pi for pi in self.pis))

    def lines(self, now: float) -> Iterator[str]:
        """Every sample, as OpenMetrics."""
        for number, pi in enumerate(self.pis):
            own = {"job": "node", "instance": f"10.0.1.{number + 5}:9100", "node": pi.name}
            swarm = tuple(self._swarm(now)) if pi.name in self.leaders else ()
            for at in times(self.hours * HOUR, min(pi.until, self.ends)):
                for name, labels, value in (*_node(pi, now, at), *swarm):
                    yield f"{name}{_labels({**labels, **own})} {value!r} {now + at:.3f}\n"
            for at in times(HOUR, AHEAD) if pi.excused else ():
                yield f"pishelf:excused{_labels({'node': pi.name})} 1 {now + at:.3f}\n"
            for at in times(HOUR, AHEAD) if pi.gateway else ():
                labels = {"job": "gateway", "instance": f"10.0.1.{number + 5}:9180", "node": pi.name}
                yield f"process_start_time_seconds{_labels(labels)} {now - pi.up!r} {now + at:.3f}\n"
        yield "# EOF\n"

    def _swarm(self, now: float) -> Iterator[tuple[str, dict[str, str], float]]:
        for pi in (pi for pi in self.pis if pi.member):
            labels = {"member": pi.name, "role": pi.role, "availability": pi.availability, "address": "198.18.0.11"}
            yield "swarm_member_ready", labels, float(pi.ready)
        for service, (running, desired) in self.services.items():
            yield "swarm_service_tasks_running", {"service": service}, float(running)
            yield "swarm_service_tasks_desired", {"service": service}, float(desired)
        for revision in self.revisions:
            labels = {name: value for name, value in revision.items() if name != "at"}
            yield "pishelf_revision_timestamp_seconds", labels, now + float(revision["at"])


def times(past: float, end: float) -> Iterator[float]:
    """When a node was measured, in seconds from now."""
    at = -past
    while at <= end:
        yield at
        at += COARSE if at < -900 else FINE


def _node(pi: Pi, now: float, at: float) -> Iterator[tuple[str, dict[str, str], float]]:
    """One scrape of a node."""
    yield "node_load1", {}, round(pi.wave(pi.load, at), 2)
    yield "node_memory_MemTotal_bytes", {}, pi.bytes
    yield "node_memory_MemAvailable_bytes", {}, round(pi.bytes * (1 - pi.wave(pi.memory, at, 0.14)))
    if pi.temperature is not None:
        yield "node_thermal_zone_temp", {"zone": "0", "type": "cpu-thermal"}, round(pi.wave(pi.temperature, at, 0.1), 1)
    for cpu in range(pi.cores):
        yield "node_cpu_seconds_total", {"cpu": str(cpu), "mode": "idle"}, 1e6 + at
    yield "node_filesystem_size_bytes", {"mountpoint": "/", "device": "/dev/mmcblk0p2"}, pi.card
    yield "node_filesystem_avail_bytes", {"mountpoint": "/", "device": "/dev/mmcblk0p2"}, round(pi.card * (1 - pi.disk))
    yield "node_filesystem_size_bytes", {"mountpoint": "/boot/firmware", "device": "/dev/mmcblk0p1"}, 0.5e9
    yield "node_time_seconds", {}, now + at
    yield "node_boot_time_seconds", {}, now - pi.up
    yield "node_textfile_mtime_seconds", {"file": "pi.prom"}, now + at - pi.textfile_age
    if pi.model:
        yield "pi_model_info", {"model": pi.model}, 1
    if pi.voltage:
        yield "pi_under_voltage", {}, float(pi.voltage[0])
        yield "pi_under_voltage_since_boot", {}, float(pi.voltage[1])
        yield "pi_throttled", {}, 0.0
    yield "pi_reboot_required", {}, float(pi.reboot)
    if pi.leads is not None:
        yield "swarm_manager_leader", {}, float(pi.leads)


def _labels(labels: Mapping[str, str]) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'

    return "{" + ",".join(f"{name}={quoted(value)}" for name, value in sorted(labels.items())) + "}"


@dataclass
class Site:
    """The page and Prometheus at one address, as the gateway has them."""

    url: str
    prometheus: str
    """Prometheus' own address."""
    away: bool = False
    """Whether the gateway does not reach Prometheus."""
    password: bool = False
    """Whether the gateway wants a password, and gets none."""

    def query(self, text: str) -> dict[str, float]:
        """What Prometheus itself says now: node -> value."""
        address = f"{self.prometheus}/prometheus/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        with no_proxy.open(address, timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return {one["metric"].get("node", ""): float(one["value"][1]) for one in found}


@contextmanager
def served(
    shelf: Shelf, folder: Path, *, cluster: str = "attic", node: str = "", services: str = LINKED
) -> Iterator[Site]:
    """The page of a shelf while the body runs.

    Args:
        node: the node that serves the page; this machine's name if none is said.
        services: what it links to.
    """
    with ExitStack() as stack:
        site = Site("", stack.enter_context(_prometheus(shelf, folder)))
        httpd = stack.enter_context(_httpd(folder / "www", cluster, node, services))

        def fetch(path: str) -> Answer:
            if not path.startswith("/prometheus/"):
                return fetched(httpd, path)
            if site.password or site.away:
                return (401 if site.password else 502), {}, b""
            return fetched(site.prometheus, path)

        site.url = stack.enter_context(at_one_address(fetch))
        yield site


@contextmanager
def _prometheus(shelf: Shelf, folder: Path) -> Iterator[str]:
    data = folder / "data"
    measured = folder / "measured.txt"
    with measured.open("w", encoding="utf-8") as file:
        file.writelines(shelf.lines(time.time()))
    promtool = checker("prometheus", "promtool")
    blocks = (promtool, "tsdb", "create-blocks-from", "openmetrics", measured, data)
    subprocess.run(blocks, check=True, capture_output=True)
    settings = folder / "prometheus.yml"
    rules = {"groups": [{"name": "made-up", "interval": "1s", "rules": list(shelf.alerts)}]}
    (folder / "rules.yml").write_text(json.dumps(rules))  # JSON is YAML
    settings.write_text('rule_files: ["rules.yml"]\n')
    address = f"127.0.0.1:{free_port()}"
    words = (
        checker("prometheus", "prometheus"),
        f"--config.file={settings}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=30d",
        f"--web.listen-address={address}",
        f"--web.external-url=http://{address}/prometheus/",
        "--web.route-prefix=/prometheus/",
    )
    with _running(words, folder / "prometheus.log", cwd=folder):
        url = f"http://{address}"
        until(lambda: _answers(f"{url}/prometheus/-/ready"))
        expected = len(shelf.alerts)
        until(lambda: _answer(f"{url}/prometheus/api/v1/alerts").count(b'"state":"firing"') >= expected)
        yield url


@contextmanager
def _httpd(folder: Path, cluster: str, node: str, services: str) -> Iterator[str]:
    """The real busybox and the real files; but a machine's busybox is not at /bin/busybox, nor is its name a Pi's."""
    (image,) = plan.read(("busybox",))
    assert image.about.debian
    busybox = debian.unpacked(image, image.about.debian, OWN)
    shutil.copytree(ROOT / "Busybox" / "root" / "www", folder)
    for script in (folder / "cgi-bin").iterdir():
        text = script.read_text(encoding="utf-8")
        text = text.replace("/bin/busybox hostname", f"echo '{node}'") if node else text
        script.write_text(text.replace("/bin/busybox", str(busybox)), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    words = (busybox, "httpd", "-f", "-p", address, "-h", folder)
    with _running(words, folder.with_suffix(".log"), cwd=folder, CLUSTER=cluster, SERVICES=services):
        until(lambda: _answers(f"http://{address}/icon.svg"))
        yield f"http://{address}"


@contextmanager
def _running(words: Sequence[str | Path], log: Path, cwd: Path, **env: str) -> Iterator[None]:
    with log.open("wb") as file, subprocess.Popen(words, stdout=file, stderr=file, cwd=cwd, env=env) as process:
        try:
            yield
        finally:
            process.terminate()


Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body."""


@contextmanager
def at_one_address(fetch: Callable[[str], Answer]) -> Iterator[str]:
    """An address where a browser finds what `fetch` fetches: the page and Prometheus, as the gateway joins them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = fetch(self.path)
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # a browser that left does not wait
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetched(server: str, path: str) -> Answer:
    """What a server, e.g. `http://127.0.0.1:8080`, answers; 502 where it does not, as of a gateway."""
    connection = HTTPConnection(server.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        return answer.status, headers, answer.read()
    except OSError:
        return 502, {}, b""
    finally:
        connection.close()


_HOP = {"connection", "transfer-encoding", "content-length", "date"}


def _answer(url: str) -> bytes:
    with no_proxy.open(url, timeout=10) as answer:
        return bytes(answer.read())


def _answers(url: str) -> bool:
    try:
        return bool(_answer(url))
    except OSError:
        return False
