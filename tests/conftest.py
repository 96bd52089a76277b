"""One lab for the whole run, made step by step as the tests ask for it, by the commands that a user types.

Its name belongs to this clone alone, so it disturbs neither the demo's lab nor another clone's tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.commands import ROOT, Lab, command

NAME = f"test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
NODES = 3
# How long an example takes says something of the machine's load, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def blank(alone: None) -> Iterator[Lab]:
    """Three blank virtual Pis; what an earlier, killed run left of them is taken away first."""
    with Lab(NAME).fresh(NODES) as lab:
        yield lab


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """Hold the clone's test labs; a second run would take them down under the first one's feet."""
    if command("docker", "info").code != 0 and not os.environ.get("CI"):
        pytest.skip("the lab cannot run here: no Docker engine answers (`make setup` says more)")
    path = ROOT / ".build" / "tests.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.exit("another run of this clone's tests has the test lab; wait until it ends", returncode=3)
        yield


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
