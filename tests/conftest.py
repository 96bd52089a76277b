"""One lab for the whole run, made step by step as the tests ask for it, by the commands that a user types.

Its name belongs to this clone alone, so it disturbs neither the demo's lab nor another clone's tests.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.commands import ROOT, Lab, command

NAME = f"test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
NODES = 3
# How long an example takes says something of the machine's load, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# A run in the background of a shell or of nohup ignores these, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# The fixtures that hold a lab, the ones with the longest tests first.
LABS = ("blank", "watched", "five", "blank_shop", "lan", "small", "second", "single", "blank_only")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers share the tests, one has all of a lab's, and labs begin before the quick tests."""

    def lab(item: pytest.Item) -> str:
        return next((lab for lab in LABS if lab in getattr(item, "fixturenames", ())), "")

    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in items:
        if lab(item):
            item.add_marker(pytest.mark.xdist_group(lab(item)))
    items.sort(key=lambda item: LABS.index(lab(item)) if lab(item) else len(LABS))


@pytest.fixture(scope="session")
def blank(engine: None) -> Iterator[Lab]:
    """Three blank virtual Pis; what an earlier, killed run left of them is taken away first."""
    with Lab(NAME).fresh(NODES) as lab:
        yield lab


@pytest.fixture(scope="session")
def engine() -> None:
    """An engine that can play virtual Pis."""
    if command("docker", "info").code != 0 and not os.environ.get("CI"):
        pytest.skip("the lab cannot run here: no Docker engine answers (`make setup` says more)")


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
