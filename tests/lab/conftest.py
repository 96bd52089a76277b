"""A lab of its own for these tests, which break it on purpose; the shared one stays whole."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.commands import Lab, command
from tests.conftest import NAME


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip where there is nothing to play with."""
    if command("docker", "info").code != 0 and not os.environ.get("CI"):
        pytest.skip("the lab cannot run here: no Docker engine answers (`make setup` says more)")


@pytest.fixture(scope="session")
def small(engine: None) -> Iterator[Lab]:
    """One blank virtual Pi; what an earlier, killed run left is taken away first."""
    lab = Lab(f"{NAME}-small")
    lab.python("lab", "down").ok()
    lab.python("lab", "up", "--nodes", "1").ok()
    yield lab
    lab.python("lab", "down").ok()


@pytest.fixture
def second(engine: None) -> Iterator[Lab]:
    """The name of another lab, which is not there before and after."""
    lab = Lab(f"{NAME}-second")
    lab.python("lab", "down").ok()
    yield lab
    lab.python("lab", "down").ok()
