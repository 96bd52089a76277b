"""What is wrong with the command itself is told before any host is asked."""

from __future__ import annotations

import pytest

from tests.commands import PYINFRA, command


@pytest.mark.parametrize(("deploy", "code"), [("swarm", 1), ("doctor", 2)])
def test_an_inventory_that_is_not_there_is_named_and_no_limit_blamed(deploy: str, code: int) -> None:
    done = command(PYINFRA, "-y", "inventry.py", f"deploys/{deploy}.py")
    assert done.code == code
    assert "--limit" not in done.refused("the inventory inventry.py has no host")
