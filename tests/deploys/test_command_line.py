"""What is wrong with the command itself is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import PYINFRA, command


@pytest.mark.parametrize(("deploy", "code"), [("swarm", 1), ("doctor", 2)])
def test_an_inventory_that_is_not_there_is_named_and_no_limit_blamed(deploy: str, code: int) -> None:
    done = command(PYINFRA, "-y", "inventry.py", f"deploys/{deploy}.py")
    assert done.code == code
    assert "--limit" not in done.refused("the inventory inventry.py has no host")


@pytest.mark.parametrize(("deploy", "code"), [("swarm", 1), ("doctor", 2)])
def test_a_mistake_in_the_inventory_is_told_before_a_host_is_asked(tmp_path: Path, deploy: str, code: int) -> None:
    inventory = tmp_path / "inventory.py"
    inventory.write_text("managers = [('pi1', {'adress': '127.0.0.1'})]")
    done = command(PYINFRA, "-y", inventory, f"deploys/{deploy}.py", "--data", "format=json")
    assert done.code == code
    assert "Connecting" not in done.refused("`adress`", "did you mean `address`?")
    assert not done.stdout or json.loads(done.stdout)["verdict"] == "failure"


@pytest.mark.parametrize(("name", "answer"), [("any.py", "add -y if"), ("reset.py", "add -y --data yes=true if")])
def test_where_nobody_answers_its_question_a_run_ends_and_says_how_to_go_on(
    tmp_path: Path, name: str, answer: str
) -> None:
    deploy = tmp_path / name
    deploy.touch()
    command(PYINFRA, "@local", deploy).refused("Press enter", f"nobody is there to answer; {answer} you mean it")
