"""What several files of tests on the lab share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Lab
from tests.image.clone import Clone


@pytest.fixture
def clone(stack: Lab, tmp_path: Path) -> Iterator[Clone]:
    """Whatever it deploys, the stack is as it was afterwards."""
    yield Clone(tmp_path / "clone", stack)
    stack.image("deploy").ok()
