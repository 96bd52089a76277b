"""The power goes, and comes back."""

from __future__ import annotations

import time

from tests.commands import Lab, command


def ready(lab: Lab) -> int:
    return lab.docker("node", "ls", "--format", "{{.Status}}").stdout.split().count("Ready")


def test_pis_that_lost_their_power_are_a_cluster_again_after_the_same_commands(stack: Lab) -> None:
    command("docker", "kill", *(f"{stack.name}-{pi}" for pi in ("pi1", "pi2", "pi3"))).ok()
    stack.python("lab", "up", "--nodes", "3").ok()
    stack.provision().ok()
    deadline = time.monotonic() + 90
    while ready(stack) != 3:
        assert time.monotonic() < deadline, stack.docker("node", "ls").said
        time.sleep(1)
    assert "nothing to do" in stack.image("build-all").said
    stack.image("deploy").ok()
    stack.image("prove").ok()
