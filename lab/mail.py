"""A mail server beside the virtual Pis: OpenSMTPD, in the lab's network and not in the swarm.

It takes mail over TLS and for one login alone, whoever it is for, and keeps it to be read.
"""

from __future__ import annotations

import io
import mailbox
import secrets
import socket
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from time import monotonic, sleep

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from docker import DockerClient
from docker.errors import NotFound
from docker.models.containers import Container

from image.errors import UserError
from lab import engine, files, image, lifecycle
from lab.progress import step
from lab.spec import Lab
from pki.authority import Authority, Identities, pem
from pki.folder import write_private
from pki.key import private_pem

PORT = 587
USERNAME = "shelf"
_HOST = 5  # of the lab's subnet; nodes begin at 11
_FOLDER = "etc/lab-mail"
_LETTERS = "/home/pi/Maildir"
_PATIENCE = 120.0  # seconds; its package is installed first
# `tls-require`: neither a password nor a letter in clear. `virtual`: pi, whom the node's image has, gets all mail.
_SETTINGS = f"""
pki mail cert "/{_FOLDER}/cert.pem"
pki mail key "/{_FOLDER}/key.pem"
table logins file:/{_FOLDER}/logins
table everybody {{ "@" = pi }}
listen on 0.0.0.0 port {PORT} tls-require pki mail auth <logins>
action keep maildir "{_LETTERS}" virtual <everybody>
match from auth for any action keep
"""
# The package is in the node's image, downloaded (node-setup.sh); a second start finds it installed.
_START = (
    "DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends opensmtpd </dev/null "
    f"&& exec smtpd -d -f /{_FOLDER}/smtpd.conf"
)


@dataclass(frozen=True)
class Server:
    """Where the mail server answers, and how to get in."""

    address: IPv4Address
    folder: Path
    """The controller's: the CA of its certificate, `ca.pem`, and the `password` of `USERNAME`."""

    def settings(self) -> str:
        """The table for a cluster's settings.toml, in that cluster's folder."""
        return (
            '[mail]\nto = "owner@example.org"\nfrom = "shelf@example.org"\n'
            f'smarthost = "{self.address}:{PORT}"\nusername = "{USERNAME}"\nca = "{self.folder.name}/ca.pem"\n'
        )


def up(lab: Lab) -> Server:
    """Make and start the lab's mail server, where it does not run; raises UserError where there is no such lab."""
    with lifecycle.alone(lab):
        client = engine.connect()
        found = lifecycle.find(client, lab)
        if found.subnet is None:
            raise UserError(f"there is no lab {lab.name!r} for a mail server", f"python -m lab up --name {lab.name}")
        server = Server(found.subnet.network_address + _HOST, lab.state / "mail")
        container = _container(client, lab)
        if container is None or container.status == "created":  # its maker was killed
            container = _create(client, lab, server)
        if container.status != "running":
            with step(f"starting the mail server at {server.address}"):
                container.start()
                _wait(container, server.address)
        return server


def letters(lab: Lab) -> bytes:
    """What it got, oldest first, as one mbox file; raises UserError where there is no mail server."""
    container = _container(engine.connect(), lab)
    if container is None:
        raise UserError(f"lab {lab.name!r} has no mail server", f"python -m lab mail --name {lab.name}")
    with tempfile.TemporaryDirectory() as work:
        box = mailbox.mbox(Path(work) / "mbox")
        for letter in _kept(container):
            box.add(letter)
        box.close()
        return (Path(work) / "mbox").read_bytes()


def _kept(container: Container) -> list[bytes]:
    """The letters in the server's Maildir, by their file names, which begin with the time of their arrival."""
    try:
        stream, _ = container.get_archive(_LETTERS)
    except NotFound:  # it has not got any
        return []
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        members = [one for one in tar.getmembers() if one.isfile() and "/new/" in one.name]
        read = (tar.extractfile(one) for one in sorted(members, key=lambda one: one.name.rpartition("/")[2]))
        return [file.read() for file in read if file]


def _container(client: DockerClient, lab: Lab) -> Container | None:
    try:
        found: Container = client.containers.get(_name(lab))
    except NotFound:
        return None
    return found


def _name(lab: Lab) -> str:
    return f"{lab.name}-mail"


def _create(client: DockerClient, lab: Lab, server: Server) -> Container:
    """Make it, with a certificate and a login of its own, and leave it stopped."""
    tag, contents = image.ensure(client, lab.clone / ".build" / "lab" / "image"), _secrets(server)
    if half := _container(client, lab):
        half.remove()
    endpoint = client.api.create_endpoint_config(ipv4_address=str(server.address))
    client.api.create_container(
        tag,
        name=_name(lab),
        hostname="mail",
        entrypoint=["/bin/sh", "-c", _START],
        labels=lab.labels,
        networking_config={"EndpointsConfig": {lab.name: endpoint}},
        host_config=client.api.create_host_config(network_mode=lab.name),
    )
    container = client.containers.get(_name(lab))
    container.put_archive("/", _packed(contents))
    return container


def _secrets(server: Server) -> Mapping[str, bytes]:
    """The server's own files; what the controller needs goes to its folder."""
    authority, key = Authority.create("lab mail"), ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    certificate = authority.sign_server(request, Identities(("mail",), (str(server.address),)))
    password = secrets.token_urlsafe(16)
    files.private_folder(server.folder)
    write_private(server.folder / "ca.pem", authority.pem)
    write_private(server.folder / "password", password.encode("ascii"))
    return {
        "smtpd.conf": _SETTINGS.encode("ascii"),
        "cert.pem": pem(certificate),
        "key.pem": private_pem(key),
        "logins": f"{USERNAME} {bcrypt.hashpw(password.encode('ascii'), bcrypt.gensalt(6)).decode('ascii')}\n".encode(),
    }


def _packed(contents: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo(_FOLDER)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        for name, content in contents.items():
            file = tarfile.TarInfo(f"{_FOLDER}/{name}")
            # the process that looks logins up is not root
            file.size, file.mode = len(content), 0o644 if name == "logins" else 0o600
            tar.addfile(file, io.BytesIO(content))
    return archive.getvalue()


def _wait(container: Container, address: IPv4Address) -> None:
    """Wait until it greets; raises UserError where it ends or takes too long."""
    end = monotonic() + _PATIENCE
    while not _greets(address):
        container.reload()
        if container.status != "running" or monotonic() > end:
            said = container.logs(tail=5).decode(errors="replace").strip()
            raise UserError(
                f"the mail server at {address}:{PORT} does not answer:\n  {said}", f"docker logs {container.name}"
            )
        sleep(0.3)


def _greets(address: IPv4Address) -> bool:
    try:
        with closing(socket.create_connection((str(address), PORT), timeout=2)) as connection:
            connection.settimeout(10)
            return connection.recv(4) == b"220 "
    except OSError:
        return False
