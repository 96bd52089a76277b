"""`pishelf-metrics`: writes what node_exporter does not know of its host into files for its textfile collector.

Provisioning puts this one file on each host, where it runs on what python3-minimal brings (3.10 or newer). So it
imports nothing of ours and repeats a few names; tests hold them together. docs/metrics.md lists the series.

A file whose source is away is removed: what nobody knows must not look as if it were fine, nor as it was before.
"""

from __future__ import annotations

import base64
import calendar
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

PERIOD = 15.0  # seconds; Prometheus asks as often
_PATIENCE = 5.0  # seconds for one answer
_MOST = 32 * 1024 * 1024  # bytes of one answer

TLS = Path("/etc/docker/tls")
CERTIFICATES = {"engine": "server-cert.pem", "ca": "ca.pem"}
HTPASSWD = Path("/etc/docker/registry/htpasswd")
"""Provisioning puts it on the registry's node alone."""
ENGINE_METRICS = ("127.0.0.1", 9323)
REGISTRY = "pishelf-registry"
REGISTRY_METRICS_PORT = 5001
REVISIONS = "pishelf.stack=shelf"
_ENGINE = "/run/docker.sock"
_RECENT = 600.0  # seconds in which a task that failed counts
_REVISIONS_SHOWN = 5
_REVISIONS_AGE = 300.0  # seconds after which they are read anew, whatever seems to have happened

# What came from elsewhere and is not what it should be: the source's file goes, the others stay.
UNEXPECTED = (OSError, ValueError, LookupError, TypeError, AttributeError, zlib.error)

Labels = Mapping[str, str]
Json = Mapping[str, Any]


class Family(NamedTuple):
    """A metric, always a gauge, with its series; without any it is not written."""

    name: str
    help: str
    samples: Sequence[tuple[Labels, float]]


def gauge(name: str, what: str, value: float, /, **labels: str) -> Family:
    """A metric of one series."""
    return Family(name, what, [(labels, value)])


def rendered(families: Iterable[Family]) -> str:
    """The text that Prometheus reads; source: Prometheus' "Exposition formats"."""
    lines: list[str] = []
    for name, what, samples in families:
        if samples:
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_braced(labels)} {value:.15g}" for labels, value in samples]
    return "".join(f"{line}\n" for line in lines)


def _braced(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# --- The host


_POWER = (
    ("pi_under_voltage", "the supply's voltage is below 4.63 V"),
    ("pi_frequency_capped", "the processor's frequency is capped"),
    ("pi_throttled", "the processor is throttled"),
    ("pi_soft_temperature_limit", "the soft temperature limit is reached"),
)


def power(said: str) -> Iterator[Family]:
    """What `vcgencmd get_throttled` says, e.g. `throttled=0x50005`: bits for now, and 16 higher since the boot.

    Source: raspberrypi.com/documentation/computers/os.html.
    """
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", said)
    bits = int(found[1], 16) if found else 0
    for bit, (name, what) in enumerate(_POWER if found else ()):
        yield gauge(name, f"Whether {what} now.", bits >> bit & 1)
        yield gauge(f"{name}_since_boot", f"Whether {what} now or was since the boot.", bits >> bit + 16 & 1)


def model(device_tree: str, dmi: str) -> Family:
    """What the machine is: its device tree's words, else those of its firmware."""
    name = device_tree.replace("\0", "").strip() or dmi.strip() or "virtual Pi"
    return gauge("pi_model_info", "Which model the host is.", 1, model=name)


def reboot_required(mark: bool, running: str, installed: Iterable[str]) -> Family:
    """Whether a package asked for a reboot, or a newer kernel than the running one is there.

    Args:
        mark: whether packages have left their mark, /run/reboot-required. Raspberry Pi OS has nothing that does.
        running: the kernel's release, e.g. `6.12.25+rpt-rpi-v8`; only kernels with its last word are compared.
        installed: the releases whose modules are there.
    """
    flavour = running.rpartition("-")[2]
    newer = any(_order(one) > _order(running) for one in installed if one.rpartition("-")[2] == flavour)
    return gauge("pi_reboot_required", "Whether what was upgraded waits for a reboot.", mark or newer)


def _order(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", release.rpartition("-")[0])]


def filesystem_errors(counts: Mapping[str, str]) -> Family:
    """How many errors ext4 has found on a device, of its files errors_count."""
    samples = [({"device": device}, int(text)) for device, text in sorted(counts.items()) if text.strip().isdecimal()]
    return Family(
        "pi_filesystem_errors", "Errors that ext4 found in its file system since it was last checked.", samples
    )


def cards(found: Mapping[str, Mapping[str, str]]) -> Iterator[Family]:
    """Cards and eMMCs by device, each with its files `name`, `date` and `life_time`.

    A life time has two figures, each in tenths of the life: 1 is up to a tenth, 11 is past it, 0 is not told; an SD
    card has no such file. Source: JEDEC eMMC 5.0, EXT_CSD.
    """
    used = [
        ({"device": device}, min(tenths, 10) / 10)
        for device, files in sorted(found.items())
        if (tenths := max((int(word, 16) for word in re.findall(r"0x[0-9a-fA-F]+", files["life_time"])), default=0))
    ]
    info = [
        ({"device": device, "name": files["name"].strip(), "date": files["date"].strip()}, 1)
        for device, files in sorted(found.items())
    ]
    yield Family("pi_card_life_used_ratio", "How much of its life a card has used, rounded up to tenths.", used)
    yield Family("pi_card_info", "Which card it is, and when it was made.", info)


def expiry(enddate: str) -> float:
    """When a certificate ends, of `openssl x509 -enddate`: `notAfter=Nov 29 14:21:10 2027 GMT`."""
    return calendar.timegm(time.strptime(enddate.strip(), "notAfter=%b %d %H:%M:%S %Y GMT"))


_ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_ANYBODY.check_hostname = False
_ANYBODY.verify_mode = ssl.CERT_NONE


class Host:
    """What is true of the host without its engine."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._expiries: dict[Path, tuple[tuple[int, int], float]] = {}

    def __call__(self) -> str:
        return rendered(self._families())

    def _families(self) -> Iterator[Family]:
        yield model(_read("/proc/device-tree/model"), _read("/sys/class/dmi/id/product_name"))
        yield from power(_output("vcgencmd", "get_throttled"))
        kernels = [path.name for path in Path("/lib/modules").glob("*")]
        yield reboot_required(Path("/run/reboot-required").exists(), os.uname().release, kernels)
        counts = Path("/sys/fs/ext4").glob("*/errors_count")
        yield filesystem_errors({path.parent.name: _read(path) for path in counts})
        devices = {path.name: path / "device" for path in Path("/sys/block").glob("mmcblk?")}
        yield from cards({name: _files(path, "name", "date", "life_time") for name, path in devices.items()})
        ends = [({"certificate": name}, end) for name, file in CERTIFICATES.items() if (end := self._end(TLS / file))]
        yield Family("pi_certificate_expiry_timestamp_seconds", "When the engine's certificate or its CA ends.", ends)
        yield gauge(
            "pi_registry_reachable",
            "Whether the cluster's registry takes connections from this host.",
            greets(self._registry),
            registry=self._registry,
        )

    def _end(self, path: Path) -> float | None:
        """When a certificate ends; openssl is only started when the file is another one."""
        try:
            status = path.stat()
        except OSError:
            return None
        identity = (status.st_ino, status.st_mtime_ns)
        if path not in self._expiries or self._expiries[path][0] != identity:
            self._expiries.pop(path, None)
            # While the CA changes there are two in its file; openssl reads the first, which is the one that goes.
            said = _output("openssl", "x509", "-noout", "-enddate", "-in", str(path))
            if not said:
                return None
            self._expiries[path] = (identity, expiry(said))
        return self._expiries[path][1]


def _files(folder: Path, *names: str) -> dict[str, str]:
    return {name: _read(folder / name) for name in names}


def _read(path: str | Path) -> str:
    """A small file's text; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*argv: str) -> str:
    """What a program prints; empty where it is not there or fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def greets(address: str) -> bool:
    """Whether a server at `host:port` speaks TLS; whose its certificate is does not matter here.

    To connect is not enough: of who goes before TLS is agreed on, the registry writes a line to its card, each time.
    """
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=_PATIENCE) as connection,
            _ANYBODY.wrap_socket(connection) as tls,
            suppress(OSError),  # of a server that does not say goodbye
        ):
            tls.unwrap()
    except OSError:
        return False
    return True


# --- The engine and the registry


def ask(path: str, at: str | tuple[str, int] = _ENGINE) -> bytes:
    """The answer to a GET request, by default of the engine's API.

    Args:
        at: a Unix socket, or an address and a port.

    Raises:
        OSError: nothing answers, or with another status than 200.
    """
    family = socket.AF_UNIX if isinstance(at, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(at)
        # A server answers HTTP/1.0 in one piece, and closes.
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = bytearray()
        while piece := connection.recv(65536):
            answer += piece
            if len(answer) > _MOST:
                raise OSError(f"{path} answers more than {_MOST} bytes")
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise OSError(f"{path} answers {b''.join(status).decode(errors='replace') or 'nothing'}")
    return body


def copied(text: str, *prefixes: str) -> str:
    """The metrics whose names begin so; of histograms the sums and counts, for their buckets are most of all series."""
    histograms = set(re.findall(r"^# TYPE (\S+) histogram$", text, re.MULTILINE))
    lines: list[str] = []
    for line in text.splitlines():
        words = line.split(" ", 3)
        name = words[2] if line.startswith("#") and len(words) > 2 else re.split(r"[{ ]", line, maxsplit=1)[0]
        is_bucket = name.endswith("_bucket") and name.removesuffix("_bucket") in histograms
        if name.startswith(prefixes) and not is_bucket:
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def engine() -> str:
    """Whether the engine answers, and its own metrics."""
    up, metrics = False, ""
    with suppress(OSError):
        if _engine_runs():
            ask("/_ping")
            metrics = copied(ask("/metrics", ENGINE_METRICS).decode(), "engine_", "swarm_")
            up = True
    return rendered([gauge("pi_engine_up", "Whether the engine answers, and its metrics do.", up)]) + metrics


def _engine_runs() -> bool:
    """Whether there is one that nobody stops: to ask at the socket of another would start it.

    Also while it ends its containers: it takes no more from the socket then, and when it has ended systemd finds a
    question there, and starts it to answer.
    """
    return _output("systemctl", "is-active", "docker.service").strip() == "active"


def registry() -> str:
    """The registry's own metrics, where it is to be."""
    if not HTPASSWD.exists():
        return ""
    metrics = ""
    with suppress(OSError):
        if _engine_runs():
            at = address(json.loads(ask(f"/containers/{REGISTRY}/json")))
            metrics = copied(ask("/metrics", (at, REGISTRY_METRICS_PORT)).decode(), "registry_")
    return (
        rendered([gauge("pi_registry_metrics_up", "Whether the registry's metrics answer.", bool(metrics))]) + metrics
    )


def address(container: Json) -> str:
    """Where a container is in its engine's own network, of GET /containers/NAME/json.

    Raises:
        OSError: it does not run.
    """
    for network in container["NetworkSettings"]["Networks"].values():
        if network["IPAddress"]:
            return str(network["IPAddress"])
    raise OSError("it has no address")


# --- The swarm, by one manager


def manages(text: str) -> bool:
    """Whether an engine is a manager, of its own metrics; a worker that is asked for nodes logs an error each time."""
    return bool(re.search(r"^swarm_node_manager 1$", text, re.MULTILINE))


def speaker(nodes: Sequence[Json]) -> str:
    """The address of the manager that tells how the swarm is, of GET /nodes; empty where nobody leads.

    The leader. Where that is drained no node_exporter hands out its files, so it is the first other one that is not.
    """
    managers = [node for node in nodes if node.get("ManagerStatus")]
    leading = [node for node in managers if node["ManagerStatus"].get("Leader")]
    others = [node for node in managers if _ready(node) and _reachable(node)]
    able = [
        node
        for node in (*leading, *sorted(others, key=lambda node: str(node["ID"])))
        if node["Spec"]["Availability"] != "drain"
    ]
    return str((able or leading)[0]["ManagerStatus"]["Addr"]).rpartition(":")[0] if leading else ""


def is_ours(at: str) -> bool:
    """Whether an address is this host's own: what is sent to one's own address comes from it, too. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((at, 9))
        return bool(probe.getsockname()[0] == at)


def members(nodes: Sequence[Json]) -> Iterator[Family]:
    """The nodes, of GET /nodes: one series each; of several entries of one name, the one that is ready, or the last.

    Managers are counted by entry: one that died has its vote until it is demoted, also where its name is back.
    """
    by_name = {
        node["Description"].get("Hostname", ""): node
        for node in sorted(nodes, key=lambda node: (_ready(node), node["CreatedAt"]))
    }
    named = {name: node for name, node in sorted(by_name.items()) if name}
    yield Family(
        "swarm_member_ready",
        "Whether the managers hear of a node.",
        [(_member(name, node), _ready(node)) for name, node in named.items()],
    )
    yield Family(
        "swarm_member_reachable",
        "Whether the other managers reach a manager.",
        [({"member": name}, _reachable(node)) for name, node in named.items() if node.get("ManagerStatus")],
    )
    votes = [_reachable(node) for node in nodes if node.get("ManagerStatus")]
    yield gauge("swarm_managers", "How many managers there are.", len(votes))
    yield gauge("swarm_managers_reachable", "How many of them the others reach.", sum(votes))


def _ready(node: Json) -> bool:
    return bool(node["Status"]["State"] == "ready")


def _reachable(manager: Json) -> bool:
    return bool(manager["ManagerStatus"].get("Reachability") == "reachable")


def _member(name: str, node: Json) -> Labels:
    at = str(node["Status"].get("Addr", ""))
    if at in ("", "0.0.0.0"):  # noqa: S104 - what a manager says of itself before it has peers
        at = str((node.get("ManagerStatus") or {}).get("Addr", "")).rpartition(":")[0]
    spec = node["Spec"]
    return {"member": name, "role": spec["Role"], "availability": spec["Availability"], "address": at}


def services(listed: Iterable[Json], tasks: Sequence[Json], nodes: Iterable[Json], now: float) -> Iterator[Family]:
    """How the services do, of GET /services, /tasks and /nodes; jobs, which end, are left out.

    A node that is not ready runs nothing, whatever was last heard of its tasks.
    """
    ready = {node["ID"] for node in nodes if _ready(node)}
    listed = [one for one in listed if _is_service(one)]
    names = {one["ID"]: one["Spec"]["Name"] for one in listed}
    wanted = dict.fromkeys(names, 0.0)
    wanted |= {one["ID"]: _replicas(one) for one in listed if "Replicated" in one["Spec"]["Mode"]}
    running, failed, places = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), set[tuple[str, str]]()
    for task in tasks:
        service, state, node = task["ServiceID"], task["Status"]["State"], task.get("NodeID", "")
        if service not in names:
            continue
        if task["DesiredState"] == "running" and state == "running" and node in ready:
            running[service] += 1
        # One that waits to take a failed one's place is `ready` until then.
        if task["DesiredState"] in ("ready", "running") and not task.get("Slot"):
            places.add((service, node))
        # By the clock of its node, which may be wrong: what failed tomorrow must not count until then.
        if state in ("failed", "rejected") and abs(now - timestamp(task["Status"]["Timestamp"])) < _RECENT:
            failed[service] += 1
    for service, _ in places:
        wanted[service] += 1
    for what, series, text in (
        ("tasks_desired", wanted, "How many tasks of a service should run."),
        ("tasks_running", running, "How many tasks of a service run, on nodes that are ready."),
        ("task_failures", failed, f"How many of a service's last tasks failed within {_RECENT:.0f} seconds."),
    ):
        samples = [({"service": names[service]}, number) for service, number in series.items()]
        yield Family(f"swarm_service_{what}", text, sorted(samples, key=lambda sample: sample[0]["service"]))
    yield updates(listed)


def updates(listed: Iterable[Json]) -> Family:
    """Since when services are being updated or rolled back, of GET /services; those that are not have no series."""
    statuses = [(one["Spec"]["Name"], one.get("UpdateStatus") or {}) for one in listed]
    return Family(
        "swarm_service_update_started_timestamp_seconds",
        "When the update of a service began that is under way.",
        [
            ({"service": name}, timestamp(status["StartedAt"]))
            for name, status in sorted(statuses, key=lambda each: each[0])
            if status.get("State") in ("updating", "rollback_started")
        ],
    )


def _is_service(one: Json) -> bool:
    return bool(one["Spec"]["Mode"].keys() & {"Replicated", "Global"})


def _replicas(service: Json) -> float:
    return float((service["Spec"]["Mode"]["Replicated"] or {}).get("Replicas") or 0)


def timestamp(text: str) -> float:
    """Seconds since the epoch of a time in UTC, e.g. `2026-11-29T14:21:10.123456789Z`."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def revisions(configs: Iterable[Json]) -> Family:
    """What was deployed last, of GET /configs; what cannot be read is left out.

    image/stack/history.py writes them.
    """
    numbered = {int(one["Spec"]["Labels"]["pishelf.revision"]): one["Spec"] for one in configs}
    samples: list[tuple[Labels, float]] = []
    for number in sorted(numbered, reverse=True)[:_REVISIONS_SHOWN]:
        spec = numbered[number]
        try:
            written = json.loads(_unpacked(base64.b64decode(spec["Data"])))
            labels = {"revision": str(number), "state": spec["Labels"]["pishelf.state"]}
            labels |= {"by": written["by"], "source": written["source"]}
            samples.append((labels, timestamp(written["time"])))
        except UNEXPECTED:
            continue
    return Family("pishelf_revision_timestamp_seconds", "When a revision of the stack was deployed.", samples)


def _unpacked(data: bytes) -> bytes:
    return zlib.decompress(data, wbits=31) if data.startswith(b"\x1f\x8b") else data


class Swarm:
    """What the managers know, on the one that tells it; on all other nodes nothing."""

    def __init__(self) -> None:
        self._seen: object = None
        self._read_at = 0.0
        self._revisions = Family("", "", [])

    def __call__(self) -> str:
        try:
            # Its metrics are at a port of its own: on a worker no program has to be started to know that it is one.
            if not manages(ask("/metrics", ENGINE_METRICS).decode()) or not _engine_runs():
                return ""
            nodes = json.loads(ask("/nodes"))
        except OSError:  # no engine, or a swarm that cannot decide
            return ""
        at = speaker(nodes)
        if not at or not is_ours(at):
            return ""
        listed, tasks = json.loads(ask("/services")), json.loads(ask("/tasks"))
        families = [*members(nodes), *services(listed, tasks, nodes, time.time()), self._last_revisions(listed)]
        return rendered(families)

    def _last_revisions(self, listed: Iterable[Json]) -> Family:
        """The last revisions. With their stacks they are large, so they are read only if there may be a change.

        A rollout is unfinished for a while, and changes services; those that are unfinished are few.
        """
        unfinished = [one["ID"] for one in _configs(REVISIONS, "pishelf.state=unfinished")]
        seen = (unfinished, max((one["Version"]["Index"] for one in listed), default=0))
        if seen != self._seen or time.monotonic() - self._read_at > _REVISIONS_AGE:
            self._revisions = revisions(_configs(REVISIONS))
            self._seen, self._read_at = seen, time.monotonic()
        return self._revisions


def _configs(*labels: str) -> list[Json]:
    filters = json.dumps({"label": labels}).encode()
    found: list[Json] = json.loads(ask(f"/configs?filters={''.join(f'%{byte:02x}' for byte in filters)}"))
    return found


# --- The daemon


def publish(path: Path, text: str) -> None:
    """Put a file in place in one step, for it is read at any time; without a text it goes."""
    if not text:
        path.unlink(missing_ok=True)
        return
    new = path.with_suffix(".new")
    # The locale may be of another encoding, and JSON may name characters that have none.
    new.write_bytes(text.encode(errors="replace"))
    new.replace(path)


def tell_systemd(state: str) -> None:
    """Say how far it is, and by saying it that it still goes on; source: sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(state.encode(), os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))


def main() -> None:
    """Write all files again and again."""
    folder = Path(os.environ["RUNTIME_DIRECTORY"])
    sources: Mapping[str, Callable[[], str]] = {
        "engine": engine,
        "registry": registry,
        "swarm": Swarm(),
        # The last, so that its age tells whether all of it still goes on.
        "host": Host(sys.argv[1]),
    }
    complaints = dict.fromkeys(sources, "")
    while True:
        begun = time.monotonic()
        for name, source in sources.items():
            text = complaint = ""
            try:
                text = source()
            except UNEXPECTED as error:
                complaint = repr(error)
            publish(folder / f"{name}.prom", text)
            if complaint not in ("", complaints[name]):  # once each, for it would be the same in 15 seconds
                sys.stderr.write(f"{name}: {complaint}\n")
            complaints[name] = complaint
        tell_systemd("READY=1\nWATCHDOG=1")
        time.sleep(max(1.0, PERIOD - (time.monotonic() - begun)))


if __name__ == "__main__":
    main()
