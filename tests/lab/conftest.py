"""A lab of its own for these tests, which break it on purpose; the shared one stays whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands import Lab
from tests.conftest import NAME


@pytest.fixture(scope="session")
def small(engine: None) -> Iterator[Lab]:
    """One blank virtual Pi; what an earlier, killed run left is taken away first."""
    with Lab(f"{NAME}-small").fresh(1) as lab:
        yield lab


@pytest.fixture
def second(engine: None) -> Iterator[Lab]:
    """The name of another lab, which is not there before and after."""
    lab = Lab(f"{NAME}-second")
    with lab.held():
        lab.python("lab", "down").ok()
        yield lab
        lab.python("lab", "down").ok()
