"""A cluster that can lose a manager, for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commands import Lab
from tests.conftest import NAME


@pytest.fixture(scope="session")
def five(engine: None) -> Iterator[Lab]:
    """Five virtual Pis: three managers and two workers, provisioned; what a killed run left is taken away first."""
    with Lab(f"{NAME}-five", managers=3).fresh(5) as lab:
        lab.provision().ok()
        yield lab


@pytest.fixture(scope="session")
def blank_only(engine: None) -> Iterator[Lab]:
    """Two virtual Pis that no test provisions."""
    with Lab(f"{NAME}-blank").fresh(2) as lab:
        yield lab
