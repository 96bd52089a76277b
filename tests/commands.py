"""What tests say to the project and to Docker: the commands that a user types."""

from __future__ import annotations

import base64
import fcntl
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

ROOT = Path(__file__).parent.parent
PYINFRA = str(Path(sys.executable).parent / "pyinfra")


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said on both channels."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return self.stdout + self.stderr

    def ok(self) -> str:
        """The standard output of a command that succeeded."""
        assert self.code == 0, f"{' '.join(self.argv)} ended with {self.code}:\n{self.said[-6000:]}"
        return self.stdout

    def refused(self, *words: str) -> str:
        """The output of a command that failed as for a person: in words, without a traceback."""
        assert self.code != 0, f"{' '.join(self.argv)} succeeded:\n{self.said[-6000:]}"
        assert "Traceback" not in self.said, self.said
        for word in words:
            assert word in self.said, f"{word!r} is not in what it said:\n{self.said}"
        return self.said


def command(*argv: str | Path, timeout: float = 1800, **env: str) -> Done:
    """Run a command as a user would, from the clone's root; NAME=value arguments go to its environment."""
    words = tuple(str(word) for word in argv)
    done = subprocess.run(
        words,
        cwd=ROOT,
        # xdist tells its workers how wide the terminal is; what a command here writes to has no width.
        env={**{name: value for name, value in os.environ.items() if name != "COLUMNS"}, "NO_COLOR": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return Done(words, done.returncode, done.stdout, done.stderr)


def nothing_proposed(dry_run: Done) -> bool:
    """Whether the table of changes that pyinfra detected names no host in any row."""
    dry_run.ok()
    table = dry_run.said.partition("Detected changes:")[2].partition("Detected changes may not")[0]
    _, _, rows_text = table.partition("Conditional Change")
    rows = [line.split() for line in rows_text.splitlines() if line.strip()]
    assert rows, dry_run.said
    return all(row[-2:] == ["-", "-"] for row in rows)


# Whatever proxy this machine has: the lab is beside it.
no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


Found = TypeVar("Found")


def until(look: Callable[[], Found], seconds: float = 60, pause: float = 0.5) -> Found:
    """Wait until something is so, looking each `pause` seconds; the first true answer."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not come about in time: {found!r}"
        time.sleep(pause)
    return found


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    """What an HTTPS server said."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    text: str


def ask(
    address: str, path: str, *, ca: Path, certificate: Path | None = None, login: str = "", method: str = "GET",
    port: int = 443, **headers: str,
) -> Answer:  # fmt: skip
    """One request over TLS, whatever proxy this machine has; raises OSError, also where TLS comes to nothing.

    Args:
        ca: a PEM file; the server's certificate has to be good for the address by it.
        certificate: a folder with `cert.pem` and `key.pem`, to be shown if the server asks for one.
        login: `NAME:PASSWORD`, for HTTP's basic authentication.
        headers: with `_` for `-`.
    """
    context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if login:
        sent["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    connection = http.client.HTTPSConnection(address, port, timeout=30, context=context)
    try:
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        said = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, said, answer.read().decode(errors="replace"))
    finally:
        connection.close()


@dataclass(frozen=True)
class Lab:
    """The tests' own lab: virtual Pis `pi1` … and the cluster on them."""

    name: str
    managers: int = 1

    @contextmanager
    def fresh(self, nodes: int) -> Iterator[Lab]:
        """The lab with blank virtual Pis while the body runs; what a killed run left is taken away first."""
        with self.held():
            self.python("lab", "down").ok()
            self.python("lab", "up", "--nodes", str(nodes)).ok()
            yield self
            if not os.environ.get("KEEP_LAB"):
                self.python("lab", "down").ok()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the body runs, the lab is no other run's: that would take it down under this one's feet."""
        path = ROOT / ".build" / f"{self.name}.lock"
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pytest.exit(f"another run of this clone's tests has lab {self.name}; wait until it ends", returncode=3)
            yield

    def python(self, module: str, *argv: str | Path, **env: str) -> Done:
        """`python -m MODULE …`."""
        return command(sys.executable, "-m", module, *argv, **self._environment, **env)

    @property
    def _environment(self) -> dict[str, str]:
        return {"LAB": self.name, "MANAGERS": str(self.managers)}

    def image(self, *argv: str, **env: str) -> Done:
        """`python -m image --context LAB …`."""
        return self.python("image", "--context", self.name, *argv, **env)

    def pyinfra(self, *argv: str, **env: str) -> Done:
        return command(PYINFRA, *argv, **self._environment, **env)

    def provision(self, *argv: str, **env: str) -> Done:
        """The main deploy on this lab."""
        return self.pyinfra("-y", "lab/inventory.py", "deploys/swarm.py", *argv, **env)

    def deploy(self, name: str, *argv: str, inventory: str = "lab/inventory.py") -> Done:
        """`pyinfra -y INVENTORY deploys/NAME.py …`."""
        return self.pyinfra("-y", inventory, f"deploys/{name}.py", *argv)

    def dry(self, name: str, *argv: str, inventory: str = "lab/inventory.py") -> Done:
        """What a deploy would do."""
        return self.pyinfra("--dry", inventory, f"deploys/{name}.py", *argv)

    def inventory(self, folder: Path, text: str) -> str:
        """An inventory in `folder` that starts from the lab's own, as `_managers` and `_workers`.

        `_with(hosts, address=…)` changes data of hosts.
        """
        path = folder / "inventory.py"
        path.write_text(
            f"from lab.hosts import groups as _groups\n"
            f"_managers, _workers = _groups({self.name!r}, '{self.managers}')\n"
            f"def _with(hosts, **data): return [(name, {{**old, **data}}) for name, old in hosts]\n{text}\n"
        )
        return str(path)

    def on(self, node: str, *argv: str) -> Done:
        """Run a program on a virtual Pi, by the host's engine: another route than ssh and our facts."""
        return command("docker", "exec", f"{self.name}-{node}", *argv)

    def reboot(self, node: str) -> None:
        """Start a virtual Pi anew, and wait until one can log in and its engine runs."""
        command("docker", "restart", f"{self.name}-{node}").ok()
        until(lambda: self.on(node, "systemctl", "is-active", "ssh", "docker").code == 0, seconds=120)

    def restart_engine(self, node: str) -> None:
        """Restart a node's engine, also where tests have done so thrice within a minute, which is systemd's limit."""
        script = "systemctl reset-failed docker.service docker.socket; systemctl restart docker.service"
        self.on(node, "sh", "-c", script).ok()

    def docker(self, *argv: str) -> Done:
        """Docker's command line through the context that provisioning left behind."""
        return command("docker", "--context", self.name, *argv)

    def address(self, node: str) -> str:
        """A virtual Pi's address, from the host's engine."""
        seen = json.loads(command("docker", "inspect", f"{self.name}-{node}").ok())[0]
        (network,) = seen["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def enter(self, node: str, path: str = "/") -> Answer:
        """Ask the gateway of a node, with the cluster's client certificate."""
        return ask(self.address(node), path, ca=self.folder / "ca.pem", certificate=self.folder)

    def fetched(self, node: str, path: str = "/", seconds: float = 60) -> str:
        """What the gateway of a node has at a path, once it has."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.enter(node, path)
            except OSError:
                if time.monotonic() > deadline:
                    raise
            else:
                if answer.status == http.client.OK:
                    return answer.text
                assert time.monotonic() < deadline, answer
            time.sleep(1)

    def query(self, text: str, at: float | None = None) -> list[dict[str, Any]]:
        """What Prometheus, asked by way of a gateway, says of now or of a moment: its series."""
        words = {"query": text, **({} if at is None else {"time": str(at)})}
        answer = self.fetched("pi1", f"/prometheus/api/v1/query?{urllib.parse.urlencode(words)}")
        return list(json.loads(answer)["data"]["result"])

    @property
    def folder(self) -> Path:
        return ROOT / ".cluster" / self.name
