"""One lab for the whole run, made step by step as the tests ask for it, by the commands that a user types.

Its name belongs to this clone alone, so it disturbs neither the demo's lab nor another clone's tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAME = f"test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
PYINFRA = str(Path(sys.executable).parent / "pyinfra")
NODES = 3


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
        env={**os.environ, "NO_COLOR": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return Done(words, done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Lab:
    """The tests' own lab: virtual Pis `pi1` … and the cluster on them."""

    name: str

    def python(self, module: str, *argv: str | Path, **env: str) -> Done:
        """`python -m MODULE …`."""
        return command(sys.executable, "-m", module, *argv, LAB=self.name, **env)

    def image(self, *argv: str, **env: str) -> Done:
        """`python -m image --context LAB …`."""
        return self.python("image", "--context", self.name, *argv, **env)

    def pyinfra(self, *argv: str, **env: str) -> Done:
        return command(PYINFRA, *argv, LAB=self.name, **env)

    def provision(self, *argv: str, **env: str) -> Done:
        """The main deploy on this lab."""
        return self.pyinfra("-y", "lab/inventory.py", "deploys/swarm.py", *argv, **env)

    def on(self, node: str, *argv: str) -> Done:
        """Run a program on a virtual Pi, by the host's engine: another route than ssh and our facts."""
        return command("docker", "exec", f"{self.name}-{node}", *argv)

    def docker(self, *argv: str) -> Done:
        """Docker's command line through the context that provisioning left behind."""
        return command("docker", "--context", self.name, *argv)

    def address(self, node: str) -> str:
        """A virtual Pi's address, from the host's engine."""
        seen = json.loads(command("docker", "inspect", f"{self.name}-{node}").ok())[0]
        (network,) = seen["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    @property
    def folder(self) -> Path:
        return ROOT / ".cluster" / self.name


@pytest.fixture(scope="session")
def blank() -> Iterator[Lab]:
    """Three blank virtual Pis; what an earlier, killed run left of them is taken away first."""
    if command("docker", "info").code != 0 and not os.environ.get("CI"):
        pytest.skip("the lab cannot run here: no Docker engine answers (`make setup` says more)")
    lab = Lab(NAME)
    lab.python("lab", "down").ok()
    lab.python("lab", "up", "--nodes", str(NODES)).ok()
    yield lab
    if not os.environ.get("KEEP_LAB"):
        lab.python("lab", "down").ok()


@pytest.fixture(scope="session")
def swarm(blank: Lab) -> Lab:
    """The lab after `pyinfra lab/inventory.py deploys/swarm.py`."""
    blank.provision().ok()
    return blank


@pytest.fixture(scope="session")
def images(swarm: Lab) -> Lab:
    """The lab with its registry, and all images in it."""
    swarm.image("build-all").ok()
    return swarm


@pytest.fixture(scope="session")
def stack(images: Lab) -> Lab:
    """The lab with everything running."""
    images.image("deploy").ok()
    return images
