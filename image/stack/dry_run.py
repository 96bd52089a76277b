"""What `docker stack deploy` would tell a swarm: docker itself is asked, and nobody hears it.

How a compose file becomes specifications of services is docker's own business, and differs from version to
version. So docker's command line is run as in a deploy, but against a socket that hands its questions on to
the swarm's manager, and takes down what it would change instead of passing it on.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from tempfile import TemporaryDirectory, gettempdir
from typing import Any
from urllib.parse import urlsplit

import docker
import requests

from image.cluster import Cluster
from image.errors import UserError, reason
from image.stack.rollout import STACK, Rollout, tell

# The image's name as it was asked for; where a service has the same already, docker leaves its image alone,
# also one that somebody put there by hand.
IMAGE_LABEL = "com.docker.stack.image"
_PATIENCE = 30.0
_JSON = {"Content-Type": "application/json"}
# What a socket's address may have on Linux, in bytes, and what it has here below the folder for temporary files.
_LONGEST_ADDRESS = 107
_BELOW = len("/pishelf-12345678/docker.sock")
_SHORT = "/tmp"  # noqa: S108 - a folder of a random name is made in it, for this user alone
_HEADERS = ("Api-Version", "Content-Type", "Docker-Experimental", "Ostype", "Server")


def foretell(rollout: Rollout, cluster: Cluster, client: docker.DockerClient) -> dict[str, dict[str, Any]]:
    """The specification that docker would send for each service, by its name without the stack's.

    Networks stand in it by their names, and configs and secrets that are not there yet by `new:NAME`.

    Raises:
        UserError: docker refuses the compose file; with its words.
    """
    with _listening(client, rollout.secrets) as (socket, taken):
        tell(rollout, cluster, {"DOCKER_HOST": f"unix://{socket}", "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": ""})
    return {spec["Name"].removeprefix(f"{STACK}_"): spec for spec in taken.services}


class _Taken:
    """What docker would have changed."""

    def __init__(self, secrets: Collection[str]) -> None:
        self.services: list[dict[str, Any]] = []
        self.configs: list[dict[str, Any]] = []
        self._secrets = secrets

    def answer(self, path: str, body: Any) -> Any:
        """Note a change, and say what the Engine API would."""
        if "/services/" in path:
            self.services.append(body)
            return {"ID": f"new:{body['Name']}", "Warnings": None}
        if not path.endswith("/configs/create"):
            return {}  # a network, or new labels of what is there
        self.configs.append({"ID": f"new:{body['Name']}", "Spec": body})
        return {"ID": f"new:{body['Name']}"}

    def amend(self, path: str, found: Any) -> Any:
        """A manager's answer to a question, as it would be after the changes so far."""
        match path.rpartition("/")[2]:
            case "services":
                for service in found:
                    service["Spec"].get("Labels", {}).pop(IMAGE_LABEL, None)
                return found
            case "configs":
                return [*found, *self.configs]
            case "secrets":
                there = {secret["Spec"]["Name"] for secret in found}
                missing = [name for name in self._secrets if name not in there]
                return [*found, *({"ID": f"new:{name}", "Spec": {"Name": name}} for name in missing)]
        return found


@contextmanager
def _listening(client: docker.DockerClient, secrets: Collection[str]) -> Iterator[tuple[Path, _Taken]]:
    """A socket for docker's command line; raises what went wrong in answering it, which docker calls `EOF`."""
    taken = _Taken(secrets)
    with _folder() as folder, _Server(folder / "docker.sock", client, taken) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield folder / "docker.sock", taken
        finally:
            server.shutdown()
            thread.join()
            if server.mistake:
                raise server.mistake


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is this user's alone, and whose path is short enough for a socket's address."""
    fits = len(os.fsencode(gettempdir())) + _BELOW <= _LONGEST_ADDRESS
    try:
        made = TemporaryDirectory(prefix="pishelf-", dir=None if fits else _SHORT)
    except OSError as error:
        where = gettempdir() if fits else _SHORT
        raise UserError(f"cannot make a folder in {where}: {error.strerror}", "TMPDIR=FOLDER, a short one") from error
    with made as name:
        yield Path(name)


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, socket: Path, client: docker.DockerClient, taken: _Taken) -> None:
        super().__init__(str(socket), _Handler)
        self.client, self.taken = client, taken
        self.mistake: BaseException | None = None

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base class gives them
        """Keep the first mistake of our own; where docker's command line has gone, it says itself why."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.mistake = self.mistake or error


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        api = self.server.client.api
        try:
            answer = api.get(f"{api.base_url}{self.path}", timeout=_PATIENCE)
        except requests.RequestException as error:
            words = {"message": f"the manager does not answer: {reason(error)}"}
            self._say(502, _JSON, json.dumps(words).encode())
            return
        body = answer.content
        if answer.ok and answer.headers.get("Content-Type", "").startswith("application/json"):
            body = json.dumps(self.server.taken.amend(urlsplit(self.path).path, answer.json())).encode()
        self._say(answer.status_code, answer.headers, body)

    do_HEAD = do_GET  # noqa: N815 - the base class calls it

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if not length or len(body) < length:
            raise ConnectionError("docker went away within its request")
        said = self.server.taken.answer(urlsplit(self.path).path, json.loads(body))
        self._say(201 if self.path.endswith("/create") else 200, _JSON, json.dumps(said).encode())

    def do_DELETE(self) -> None:
        self._say(200, {}, b"")

    def _say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name in _HEADERS:
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' own name
        pass
