"""Where a host is reached, now and after its address has changed; it stays the host with the same ssh key."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from paramiko import HostKeys, PKey, SSHException
from pyinfra.api import Host, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.sshuserclient.client import append_hostkey

from operations.api import unseen
from operations.connection import Connection

_SSH_PORT = 22
_KNOCK = 3.0  # seconds; for as long an address in the same network is asked for before it counts as silent
_PROOF = 20.0  # seconds


class Ssh(Connection):
    """The connection to where a host is: at its `address`, unless `ssh_hostname` says otherwise.

    With `static` the deploy moves the host from `ssh_hostname` to `address`, so either may be right. It has
    moved where this computer knows it by one key at both, or where nothing answers at `ssh_hostname` any more.
    """

    at = ""
    """Where the host was reached."""

    def connect(self) -> None:
        if not self.at:
            self.at = self._whereabouts()
        self.data["ssh_hostname"] = self.at
        super().connect()

    def _whereabouts(self) -> str:
        address, said = str(self.host.data.get("address") or ""), self.data["ssh_hostname"]
        if not said or not address:
            return said or address or self.host.name
        moves = self.host.data.get("static") and said != address
        return address if moves and self._has_moved(said, address) else said

    def _has_moved(self, before: str, now: str) -> bool:
        if not self.answers(now):
            return False
        met = _known_in(self.known_hosts)
        return have_one_key(met, self.known_as(before), self.known_as(now)) or not self.answers(before)

    @property
    def port(self) -> int:
        return int(self.data["ssh_port"] or _SSH_PORT)

    def known_as(self, address: str) -> str:
        """The host's name in a file of known hosts if it is at `address`."""
        return address if self.port == _SSH_PORT else f"[{address}]:{self.port}"

    def answers(self, address: str) -> bool:
        """Whether anything takes connections there."""
        try:
            with socket.create_connection((address, self.port), timeout=_KNOCK):
                return True
        except OSError:
            return False

    def reconnect(self, address: str, who: Identity) -> bool:
        """Connect there instead, if it is the same host; what is learnt of its key is kept."""
        name = self.known_as(address)
        met = who.known.lookup(name) is not None
        if not met:
            who.known.add(name, who.key.get_name(), who.key)
        if self.client:
            self.client.close()
        self.disconnect()  # no more than what it remembers of the former connection
        self.at = address
        try:
            self.connect()
        except ConnectError:
            if not met:
                del who.known[name]
            return False
        if not met:
            append_hostkey(self.client, name, who.key)  # type: ignore[no-untyped-call]
        return True


def _known_in(path: Path) -> HostKeys:
    try:
        return HostKeys(str(path))
    except (OSError, SSHException):
        return HostKeys()


def have_one_key(known: HostKeys, one: str, other: str) -> bool:
    """Whether both names are known, and as the same machine's."""
    first, second = known.lookup(one), known.lookup(other)
    return first is not None and second is not None and any(second.get(kind) == key for kind, key in first.items())


@dataclass(frozen=True)
class Identity:
    """By what a host is known again wherever it answers."""

    key: PKey
    """The one with which its ssh server proved itself."""
    known: HostKeys
    """What this computer knows of other addresses; all of pyinfra's connections share it."""


def ssh(host: Host) -> Ssh:
    """A host's connection.

    Raises:
        ValueError: it is of another kind.
    """
    if isinstance(host.connector, Ssh):
        return host.connector
    raise ValueError(f"{host.name} is not reached by ssh, so it cannot be followed to another address")


def identity(host: Host) -> Identity:
    """Who is at the other end of a host's connection.

    Raises:
        ValueError: it is no ssh connection, or it is closed.
    """
    client = ssh(host).client
    transport = client.get_transport() if client else None
    if client is None or transport is None or not transport.is_active():
        raise ValueError(f"the connection to {host.name} is closed; run again")
    return Identity(transport.get_remote_server_key(), client.get_host_keys())


def stranger(host: Host, address: str, who: Identity) -> str:
    """Why ssh would not believe that this host is at `address`; empty where it would."""
    name = ssh(host).known_as(address)
    known = who.known.lookup(name)
    if known is None or known.get(who.key.get_name(), who.key) == who.key:
        return ""
    return (
        f"this computer knows another machine at {address} by its ssh key; if that one is gone,"
        f" `ssh-keygen -R {name}`, then run again"
    )


def follow(host: Host, proofs: Mapping[str, str], who: Identity, seconds: float) -> str:
    """Connect to a host where it is now, and stay there: the address, or empty where that did not succeed in time.

    Args:
        proofs: by address, in the order to try, shell that succeeds there once the host is ready for us.
    """
    connection, deadline = ssh(host), monotonic() + seconds
    while monotonic() < deadline:
        for address, proof in proofs.items():
            if connection.answers(address) and connection.reconnect(address, who) and _proves(host, proof):
                host.connected = True
                return address
        sleep(1)
    host.connected = False
    return ""


def _proves(host: Host, proof: str) -> bool:
    try:
        return unseen(host, StringCommand(proof), seconds=_PROOF)[0]
    except ValueError:
        return False
