"""How the lab's owner gets into its nodes, and knows that they are the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from lab.spec import Lab
from pki.folder import write_private


def key_path(lab: Lab) -> Path:
    """The private key, readable by its owner only."""
    return lab.state / "id_ed25519"


def known_hosts_path(lab: Lab) -> Path:
    """The host keys of the lab's nodes."""
    return lab.state / "known_hosts"


def ensure(lab: Lab) -> str:
    """The lab's public key, in one line; the pair is made once."""
    path = key_path(lab)
    if path.exists():
        key = load_ssh_private_key(path.read_bytes(), password=None)
    else:
        key = Ed25519PrivateKey.generate()
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return f"{public.decode('ascii')} pishelf-{lab.name}"


def write_known_hosts(lab: Lab, host_keys: Mapping[IPv4Address, list[str]]) -> None:
    """Write the nodes' own keys (`ssh-ed25519 AAAA…` each), unless the file says just that."""
    lines = [f"{address} {key}\n" for address, keys in sorted(host_keys.items()) for key in sorted(keys)]
    content = "".join(lines).encode("ascii")
    path = known_hosts_path(lab)
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)
