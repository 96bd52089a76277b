"""Where a host is reached, now and after its address has changed; it stays the host with the same ssh key."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from paramiko import HostKeys, PKey, SSHException
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import BaseStateCallback
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.sshuserclient.client import append_hostkey

from operations.api import unseen

_SSH_PORT = 22
_KNOCK = 3.0  # seconds; a silent address in the same network is known to be silent after as long


class Reach(BaseStateCallback):
    """Before pyinfra connects: a host is where its `address` says, unless `ssh_hostname` says otherwise.

    With `static` the deploy moves the host from `ssh_hostname` to `address`, so both may be right: the host
    is at `address` once this computer has met it there, or where nothing else answers.
    """

    @staticmethod
    def host_before_connect(state: State, host: Host) -> None:
        del state  # pyinfra's signature
        address, said = host.data.get("address"), host.data.get("ssh_hostname")
        if not address or said == address:
            return
        if not said or (host.data.get("static") and _has_moved(host, str(said), str(address))):
            host.data.ssh_hostname = str(address)


def _has_moved(host: Host, before: str, now: str) -> bool:
    port = _port(host)
    if not _answers(now, port):
        return False
    return _known_by(host).lookup(_known_as(now, port)) is not None or not _answers(before, port)


def _port(host: Host) -> int:
    return int(host.data.get("ssh_port") or _SSH_PORT)


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_KNOCK):
            return True
    except OSError:
        return False


def _known_as(address: str, port: int) -> str:
    """A host's name in a file of known hosts."""
    return address if port == _SSH_PORT else f"[{address}]:{port}"


def _known_by(host: Host) -> HostKeys:
    path = Path(host.data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts").expanduser()
    try:
        return HostKeys(str(path))
    except (OSError, SSHException):
        return HostKeys()


@dataclass(frozen=True)
class Identity:
    """By what a host is known again wherever it answers."""

    key: PKey
    """The one with which its ssh server proved itself."""
    known: HostKeys
    """What this computer knows of other addresses; all of pyinfra's connections share it."""


def identity(host: Host) -> Identity:
    """Who is at the other end of a host's connection.

    Raises:
        ValueError: it is no ssh connection, or it is closed.
    """
    client = _connector(host).client
    transport = client.get_transport() if client else None
    if client is None or transport is None or not transport.is_active():
        raise ValueError(f"the connection to {host.name} is closed; run again")
    return Identity(transport.get_remote_server_key(), client.get_host_keys())


def _connector(host: Host) -> SSHConnector:
    if isinstance(host.connector, SSHConnector):
        return host.connector
    raise ValueError(f"{host.name} is not reached by ssh, so it cannot be followed to another address")


def stranger(host: Host, address: str, who: Identity) -> str:
    """Why ssh would not believe that this host is at `address`; empty where it would."""
    name = _known_as(address, _port(host))
    if (who.known.lookup(name) or {}).get(who.key.get_name(), who.key) == who.key:
        return ""
    return (
        f"this computer knows another machine at {address} by its ssh key; if that one is gone,"
        f" `ssh-keygen -R {name}`, then run again"
    )


def follow(host: Host, addresses: Sequence[str], who: Identity, proof: str, seconds: float) -> bool:
    """Connect to a host at the first of `addresses` where it is, and stay there; whether that succeeded in time.

    Args:
        proof: shell that succeeds there once the host is ready for us.
    """
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        for address in addresses:
            if _answers(address, _port(host)) and _connect(host, address, who) and _proves(host, proof):
                host.connected = True
                return True
        sleep(1)
    host.connected = False
    return False


def _connect(host: Host, address: str, who: Identity) -> bool:
    connector, name = _connector(host), _known_as(address, _port(host))
    met = who.known.lookup(name) is not None
    if not met:
        who.known.add(name, who.key.get_name(), who.key)
    host.data.ssh_hostname = address
    if connector.client:
        connector.client.close()
    connector.disconnect()  # no more than what it remembers of the former connection
    try:
        connector.connect()
    except ConnectError:
        if not met:
            del who.known[name]
        return False
    if not met:
        append_hostkey(connector.client, name, who.key)
    return True


def _proves(host: Host, proof: str) -> bool:
    try:
        return unseen(host, StringCommand(proof), seconds=10)[0]
    except ValueError:
        return False
