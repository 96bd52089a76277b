"""A cluster that can lose a manager, for the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.commands import Lab
from tests.conftest import NAME


@pytest.fixture(scope="session")
def five(alone: None) -> Iterator[Lab]:
    """Five virtual Pis: three managers and two workers, provisioned; what a killed run left is taken away first."""
    lab = Lab(f"{NAME}-five", managers=3)
    lab.python("lab", "down").ok()
    lab.python("lab", "up", "--nodes", "5").ok()
    lab.provision().ok()
    yield lab
    if not os.environ.get("KEEP_LAB"):
        lab.python("lab", "down").ok()


@pytest.fixture(scope="session")
def blank_only(alone: None) -> Iterator[Lab]:
    """Two virtual Pis that no test provisions."""
    lab = Lab(f"{NAME}-blank")
    lab.python("lab", "down").ok()
    lab.python("lab", "up", "--nodes", "2").ok()
    yield lab
    lab.python("lab", "down").ok()
