"""The cluster as the inventory describes it, checked as a whole before any host is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from pyinfra import inventory, logger, state
from pyinfra.api import Host
from pyinfra.api.exceptions import DeployError

from deploys import passwords
from deploys.settings import ClusterSettings, HostSettings, misnamed, parse, unknown
from operations import leader
from operations.swarm import tolerance
from operations.tls import Issuer
from pki.authority import Authority
from pki.credentials import Login, registry_login
from pki.folder import cluster_folder
from pki.key import KeyRing
from pki.passphrase import passphrases
from pki.people import client_files
from pki.records import swarm_id, unlock_key

ROOT = Path(__file__).parent.parent
REGISTRY_PORT = 5000
OWNER = "cluster owner"


@dataclass(frozen=True)
class Description:
    """What the inventory says of the cluster."""

    settings: ClusterSettings
    hosts: Mapping[str, HostSettings]
    managers: Sequence[str]

    @property
    def registry(self) -> str:
        """The registry's address, `host:port`."""
        return f"{self.hosts[self.settings.registry_node].address}:{REGISTRY_PORT}"


@dataclass(frozen=True)
class Cluster(Description):
    """What the inventory says of the cluster, and what its folder holds."""

    folder: Path
    """`.cluster/<name>/`: the CA, the client certificate in Docker's file names, the registry's login."""
    keys: KeyRing
    """Opens the CA's key when something has to be signed; a person is asked for its passphrase at most once."""
    login: Login


def described() -> Description:
    """The inventory's cluster; nothing is made. Raises what `read` raises of an inventory."""
    return _described(tuple(inventory))


def read(certifies: bool = True) -> Cluster:
    """The inventory's cluster, with its CA and passwords; what is missing of these is made.

    Args:
        certifies: whether the CA has to be one that can sign; a deploy that leaves it needs no such one.

    Raises:
        DeployError: with the first thing that is wrong, and its fix.
    """
    return _read(tuple(inventory), certifies)


@cache  # every host walks the deploy, but there is one cluster
def _read(hosts: tuple[Host, ...], certifies: bool) -> Cluster:
    found = _described(hosts)
    if len(found.managers) % 2 == 0:
        logger.warning(tolerance(len(found.managers)))
    return _with_folder(found, certifies)


def _described(hosts: tuple[Host, ...]) -> Description:
    managers = [host.name for host in leader.managers()]
    if not managers:
        raise DeployError("the inventory has no manager; put one host into the list `managers`")
    for host in hosts:
        if objection := misnamed(host.name):
            raise DeployError(f"the inventory's {objection}")
        _check_groups(host)
        _check_names(host)
    of = {host.name: parse(HostSettings, _said(host), host.name) for host in hosts}
    _check_addresses(of)
    settings = _settings(hosts)
    for setting in ("registry_node", "prometheus_node"):
        if (node := getattr(settings, setting)) not in of:
            raise DeployError(f"{setting} = {node!r} is not in the inventory, which has {', '.join(sorted(of))}")
    return Description(settings, of, managers)


def issuer(cluster: Cluster, *, replacing: bool = False, older_than: datetime | None = None) -> Issuer:
    """Who signs the cluster's certificates; see `operations.tls.Issuer`."""
    return Issuer(cluster.folder, cluster.keys, replacing, older_than)


def require_limit(verb: str) -> None:
    """Refuse to do to all hosts what is meant for one.

    Raises:
        DeployError: the command names no host.
    """
    if state.limit_hosts is None:
        raise DeployError(f"which host shall {verb}? Name it: pyinfra INVENTORY deploys/{verb}.py --limit pi3")


def _with_folder(found: Description, certifies: bool) -> Cluster:
    name = found.settings.cluster_name
    try:
        folder = cluster_folder(name, ROOT)
        keys = KeyRing(passphrases(found.settings.ca_passphrase_file))
        if certifies:
            _keep_clients(Authority.load_or_create(folder, name, keys), folder)
        swarm_id(folder), unlock_key(folder)  # what is damaged is told now
        login = registry_login(folder, found.registry)
    except (ValueError, OSError) as error:
        raise DeployError(str(error)) from error
    return Cluster(found.settings, found.hosts, found.managers, folder, keys, login)


def _keep_clients(authority: Authority, folder: Path) -> None:
    """Keep the owner's certificate good; while the CA changes that is the change's own business."""
    if authority.warning:
        logger.warning(authority.warning)
    if not authority.former:
        client_files(authority, folder, OWNER)


def _check_groups(host: Host) -> None:
    # A host that is listed twice is one host to pyinfra, in the group twice.
    lists = [group for group in host.groups if group in ("managers", "workers")]
    if not lists:
        raise DeployError(f"{host.name} is neither in `managers` nor in `workers`; put it into one of them")
    if len(lists) > 1:
        raise DeployError(f"{host.name} is in `{lists[0]}` and in `{lists[1]}`; take it out of one of them")


def _said(host: Host) -> Mapping[str, object]:
    """All that inventory, group data and command line say of a host, by pyinfra's own precedence."""
    said: Mapping[str, object] = host.data.dict()  # type: ignore[no-untyped-call]
    return said


def _check_names(host: Host) -> None:
    """Refuse passwords, and what nothing reads: a misspelt setting would otherwise be silently without effect."""
    for where, said in (
        (f"{host.name} in the inventory", host.host_data),
        (f"the groups of {host.name}", host.group_data),
        ("group_data/all.py", host.inventory.get_data()),  # type: ignore[no-untyped-call]
    ):
        if objection := passwords.objection(said) or unknown(said):
            raise DeployError(f"{where}: {objection}")


def _check_addresses(hosts: Mapping[str, HostSettings]) -> None:
    seen: dict[str, str] = {}
    for name, settings in hosts.items():
        if settings.address in seen:
            raise DeployError(
                f"{seen[settings.address]} and {name} have the same address, {settings.address};"
                " each host needs its own"
            )
        seen[settings.address] = name


def _settings(hosts: Sequence[Host]) -> ClusterSettings:
    """The cluster's settings, which each host has to give alike, wherever they stand."""
    first, *others = [(host.name, parse(ClusterSettings, _said(host), "group_data/all.py")) for host in hosts]
    for name, settings in others:
        if settings != first[1]:
            raise DeployError(
                f"{first[0]} and {name} have different settings for the cluster; these belong into group_data/all.py"
            )
    return first[1]
