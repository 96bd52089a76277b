"""The doctor's rounds: all hosts are read at once, and looked at from this computer."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pyinfra.api import FactBase, Host, StringCommand
from pyinfra.api.exceptions import ConnectError, DeployError, FactProcessError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

import facts.host
from deploys.cluster import REGISTRY_PORT, ROOT, Description
from doctor.dial import Door, knock, silence
from doctor.evidence import Evidence, HostEvidence, Pull
from doctor.registry import Registry, Stock
from facts.board import Board
from facts.disks import Disks
from facts.kernel import Kernel
from facts.links import Links
from facts.part import Part
from facts.reach import Peer, Reach, Reached
from facts.runtime import Runtime
from facts.swarm import GOSSIP_PORT, SWARM_PORT
from facts.upkeep import Upkeep
from operations.api import unseen
from operations.known import PARTS, Everything
from operations.pull import objection
from operations.reach import ssh
from pki.credentials import Login, known_login
from pki.phase import Standing

T = TypeVar("T")

_TIMEOUT = 90  # seconds for all that a host is asked; a Pi with a bad card is slow


class Examination(Everything):
    """All parts that the deploys know of a host, and those that only the doctor asks for."""

    parts: ClassVar = (
        Board,
        Kernel,
        Disks,
        Links,
        Runtime,
        Upkeep,
        *(part for part in PARTS if part is not facts.host.Host),
        # The host's own last: its clock is compared when the answer comes in, and the others take their time.
        facts.host.Host,
    )


@dataclass(frozen=True)
class Own:
    """What this computer has of the cluster; nothing of it is made here."""

    folder: Path
    complete: bool
    """Whether the CA's and the client's certificate are there."""
    ca: str
    login: Login | None

    @classmethod
    def read(cls, cluster: Description) -> Self:
        """Read the cluster's folder; raises DeployError where a file of it is damaged."""
        folder = ROOT / ".cluster" / cluster.settings.cluster_name
        complete = all((folder / name).exists() for name in ("ca.pem", "cert.pem", "key.pem"))
        if not complete:
            return cls(folder, complete, "", None)
        try:
            Standing.read(folder)  # what is damaged is told of here, and not as a fault of the hosts
            return cls(folder, complete, (folder / "ca.pem").read_text(), known_login(folder, cluster.registry))
        except (OSError, ValueError) as error:
            raise DeployError(str(error)) from error


@dataclass(frozen=True)
class Look:
    """One host, while it is being asked and looked at."""

    host: Host
    parts: Future[Mapping[type[Part[Any]], Any] | None]
    reached: Future[Reached | None]
    door: Future[Door]

    @classmethod
    def begin(cls, pool: Executor, host: Host, cluster: Description, own: Own, probe: Mapping[str, Any]) -> Self:
        """Ask all that is to be asked, at the same time.

        Args:
            probe: the arguments of `Reach`.
        """
        address = cluster.hosts[host.name].address
        return cls(
            host,
            pool.submit(_fact, host, Examination),
            pool.submit(_fact, host, Reach, probe),
            pool.submit(knock, address, own.folder if own.complete else None),
        )

    def end(self, cluster: Description) -> HostEvidence:
        """What came of it."""
        found = self.parts.result() or {}
        return replace(
            _named(self.host, cluster),
            parts={part: value for part, value in found.items() if not isinstance(value, FactProcessError)},
            unread={part: str(value) for part, value in found.items() if isinstance(value, FactProcessError)},
            reached=self.reached.result(),
            door=self.door.result(),
        )


def evidence(hosts: Sequence[Host], cluster: Description) -> Evidence:
    """What the hosts say, and what this computer sees of them."""
    own = Own.read(cluster)
    # pyinfra's threads are green ones. One for each question: hosts that try each other's ports have to do it
    # at the same time.
    with ThreadPoolExecutor(max_workers=4 * len(hosts)) as pool:
        stock = pool.submit(_stock, cluster.registry, own)
        silent = {host: pool.submit(_silence, host) for host in hosts if not host.connected}
        # First, and once: sudo may ask for a password, which pyinfra then remembers.
        root = {host: pool.submit(_refusal, host) for host in hosts if host.connected}
        refusing = {host: why.result() for host, why in root.items() if why.result()}
        able = [host for host in root if host not in refusing]
        probes = _probes(able, cluster)
        looks = [Look.begin(pool, host, cluster, own, probes[host.name]) for host in able]
        found = {look.host: look.end(cluster) for look in looks}
        found |= _pulled(pool, found, stock.result(), own)
        found |= {host: replace(_named(host, cluster), refusal=why) for host, why in refusing.items()}
        found |= {host: replace(_named(host, cluster), silence=why.result()) for host, why in silent.items()}
    return _together([found[host] for host in hosts], cluster, own, stock.result())


def _pulled(
    pool: Executor, hosts: Mapping[Host, HostEvidence], stock: Stock | None, own: Own
) -> Mapping[Host, HostEvidence]:
    """The hosts whose engine runs, with what came of pulling from the registry."""
    if stock is None or stock.image is None or own.login is None:
        return {}
    able = {host: seen for host, seen in hosts.items() if _engine_runs(seen)}
    said = {host: pool.submit(objection, host, stock.image.reference, own.login) for host in able}
    return {host: replace(seen, pull=Pull(said[host].result())) for host, seen in able.items()}


def _together(hosts: Sequence[HostEvidence], cluster: Description, own: Own, stock: Stock | None) -> Evidence:
    settings = cluster.settings
    return Evidence(
        hosts=tuple(hosts),
        inventory={name: each.address for name, each in cluster.hosts.items()},
        managers=tuple(cluster.managers),
        registry_node=settings.registry_node,
        prometheus_node=settings.prometheus_node,
        overlay_pool=settings.overlay_pool,
        firewall=settings.firewall,
        metrics=settings.metrics,
        ca=own.ca,
        now=dt.datetime.now(dt.UTC),
        stock=stock,
        registry_started=any(_has_registry(host) for host in hosts if host.name == settings.registry_node),
    )


def _named(host: Host, cluster: Description) -> HostEvidence:
    settings = cluster.hosts[host.name]
    return HostEvidence(
        name=host.name,
        address=settings.address,
        role="manager" if host.name in cluster.managers else "worker",
        availability=settings.availability,
        static=settings.static,
    )


def _fact(host: Host, fact: type[FactBase[T]], arguments: Mapping[str, Any] | None = None) -> T | None:
    """A fact of a host, or None where it could not be read; pyinfra prints why."""
    with ctx_host.use(host):
        found: T | None = get_fact(
            host.state, host, fact, kwargs={**(arguments or {}), "_timeout": _TIMEOUT}, apply_failed_hosts=False
        )
    return found


def _probes(hosts: Iterable[Host], cluster: Description) -> Mapping[str, Mapping[str, Any]]:
    """For each host, what it takes to find out whom it reaches: only hosts of the inventory that answer."""
    token = f"pishelf-{secrets.token_hex(8)}"  # no beginning that VXLAN or the engine would take for its own
    peers = {
        host.name: Peer(
            address=(settings := cluster.hosts[host.name]).address,
            data_path_address=settings.data_path_address or settings.address,
            tcp=(GOSSIP_PORT, SWARM_PORT) if host.name in cluster.managers else (GOSSIP_PORT,),
        )
        for host in hosts
    }
    return {
        name: {
            "token": token,
            "me": name,
            "listen": own.tcp,
            "peers": {one: peers[one] for one in peers if one != name},
        }
        for name, own in peers.items()
    }


def _refusal(host: Host) -> str:
    """Why a host does not let us be root; empty where it does."""
    try:
        done, said = unseen(host, StringCommand("true"))
    except ValueError as error:
        return str(error)
    return "" if done else said or "it does not say why"


def _silence(host: Host) -> str:
    """Why a host does not answer; it is asked once more, for pyinfra prints the reason and does not keep it."""
    connection = ssh(host)
    if why := silence(connection.at, connection.port):
        return f"nothing answers at {connection.at}, port {connection.port}: {why}"
    try:
        host.connect(show_errors=False, raise_exceptions=True)
    except ConnectError as error:
        return str(error)
    host.disconnect()
    return "it did not answer at first, and does now; run the doctor again"


def _stock(registry: str, own: Own) -> Stock | None:
    return Registry(registry, own.login, own.folder / "ca.pem").stock() if own.login else None


def _engine_runs(host: HostEvidence) -> bool:
    return Runtime in host.parts and host.read(Runtime).answers


def _has_registry(host: HostEvidence) -> bool:
    """Whether a registry was ever started there, also if it does not run now."""
    if not _engine_runs(host):
        return False
    runtime = host.read(Runtime)
    return any(port.port == REGISTRY_PORT for port in runtime.published) or any(
        "registry" in name for name in runtime.stopped
    )
