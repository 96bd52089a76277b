"""The cluster as the inventory describes it, checked as a whole before any host is touched."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyinfra import inventory
from pyinfra.api import Host
from pyinfra.api.exceptions import DeployError, NoGroupError

from pki.authority import Authority
from pki.credentials import Login, registry_login
from pki.folder import cluster_folder
from pki.people import client_files

ROOT = Path(__file__).parent.parent
REGISTRY_PORT = 5000


@dataclass(frozen=True)
class Cluster:
    """What holds for the cluster as a whole."""

    name: str
    leader: str
    leader_address: str
    registry_node: str
    registry: str
    """The registry's address, `host:port`."""
    prometheus_node: str
    overlay_pool: str
    folder: Path
    """`.cluster/<name>/`: the CA, the client certificate in Docker's file names, the registry's login."""
    authority: Authority
    login: Login


def read() -> Cluster:
    """The inventory's cluster, with its CA and passwords; what is missing of these is made.

    Raises:
        DeployError: with the first thing that is wrong, and its fix.
    """
    hosts = {host.name: host for host in inventory}
    managers, workers = _group("managers"), _group("workers")
    _check_hosts(hosts, managers, workers)
    data = hosts[managers[0]].data
    return _cluster(
        str(_setting(data, "cluster_name")),
        managers[0],
        tuple((name, str(host.data.address)) for name, host in hosts.items()),
        _known_host("registry_node", str(_setting(data, "registry_node")), hosts),
        _known_host("prometheus_node", str(_setting(data, "prometheus_node")), hosts),
        _network("overlay_pool", str(_setting(data, "overlay_pool"))),
    )


@cache  # every host walks the deploy, but there is one CA
def _cluster(
    name: str, leader: str, hosts: tuple[tuple[str, str], ...], registry_node: str, prometheus_node: str, pool: str
) -> Cluster:
    addresses = dict(hosts)
    registry = f"{addresses[registry_node]}:{REGISTRY_PORT}"
    try:
        folder = cluster_folder(name, ROOT)
        authority = Authority.load_or_create(folder, name)
        client_files(authority, folder, "cluster owner")
        login = registry_login(folder, registry)
    except (ValueError, OSError) as error:
        raise DeployError(str(error)) from error
    return Cluster(
        name=name,
        leader=leader,
        leader_address=addresses[leader],
        registry_node=registry_node,
        registry=registry,
        prometheus_node=prometheus_node,
        overlay_pool=pool,
        folder=folder,
        authority=authority,
        login=login,
    )


def _group(name: str) -> list[str]:
    try:
        return [host.name for host in inventory.get_group(name)]
    except NoGroupError:
        return []


def _check_hosts(hosts: dict[str, Host], managers: list[str], workers: list[str]) -> None:
    if not managers:
        raise DeployError("the inventory has no manager; put one host into the list `managers`")
    if twice := sorted(set(managers) & set(workers)):
        raise DeployError(f"{twice[0]} is in `managers` and in `workers`; take it out of one of them")
    if nowhere := sorted(set(hosts) - set(managers) - set(workers)):
        raise DeployError(f"{nowhere[0]} is neither in `managers` nor in `workers`; put it into one of them")
    seen: dict[str, str] = {}
    for name, host in hosts.items():
        address = _address(host)
        if address in seen:
            raise DeployError(f"{seen[address]} and {name} have the same address, {address}; each host needs its own")
        seen[address] = name


def _address(host: Host) -> str:
    address = host.data.get("address")
    if address is None:
        raise DeployError(f"{host.name} has no address; write it as ({host.name!r}, {{'address': '192.168.1.11'}})")
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError:
        raise DeployError(f"{host.name}: address {address!r} is not an IPv4 address, e.g. '192.168.1.11'") from None


def _setting(data: object, name: str) -> object:
    value = getattr(data, name, None)
    if value is None:
        raise DeployError(f"the setting `{name}` is missing; it belongs into group_data/all.py")
    return value


def _known_host(setting: str, name: str, hosts: dict[str, Host]) -> str:
    if name not in hosts:
        raise DeployError(f"{setting} = {name!r} is not in the inventory, which has {', '.join(sorted(hosts))}")
    return name


def _network(setting: str, text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError as error:
        raise DeployError(f"{setting} = {text!r} is not a network such as '10.201.0.0/16': {error}") from None
