"""A fourth Pi: it joins although its provisioning is killed again and again, and is watched without further ado."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.commands import PYINFRA, ROOT, Lab, command, nothing_proposed

# Seconds into a run of the deploy; each run starts from what the one before left half-done.
MOMENTS = (1.2, 2.5, 4, 7, 10)


@pytest.fixture(scope="module")
def fourth(stack: Lab) -> Iterator[Lab]:
    """The lab with a blank pi4, and afterwards without it and its swarm node."""
    stack.python("lab", "up", "--nodes", "4").ok()
    yield stack
    command("docker", "rm", "--force", "--volumes", f"{stack.name}-pi4").ok()
    deadline = time.monotonic() + 60
    while "Down" not in (listed := stack.docker("node", "ls", "--filter", "name=pi4").said) and "pi4" in listed:
        assert time.monotonic() < deadline, listed
        time.sleep(1)
    stack.docker("node", "rm", "--force", "pi4")


def kill_provisioning_after(lab: Lab, seconds: float, how: signal.Signals) -> None:
    """Start the deploy, and end it as a person or a power cut would."""
    running = subprocess.Popen(
        [PYINFRA, "-y", "lab/inventory.py", "deploys/swarm.py"],
        cwd=ROOT,
        env={**os.environ, "LAB": lab.name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, how)
        running.wait(60)


def targets(lab: Lab) -> dict[str, str]:
    """Health by address, of Prometheus' targets of job `node`."""
    active = json.loads(lab.fetched("pi1", "/prometheus/api/v1/targets?state=active"))["data"]["activeTargets"]
    return {one["scrapeUrl"]: one["health"] for one in active if one["labels"]["job"] == "node"}


def test_a_fourth_pi_joins_although_its_provisioning_was_killed_again_and_again(fourth: Lab) -> None:
    for number, moment in enumerate(MOMENTS):
        kill_provisioning_after(fourth, moment, signal.SIGKILL if number % 2 else signal.SIGINT)
    fourth.provision().ok()
    (node,) = json.loads(fourth.docker("node", "inspect", "pi4").ok())
    assert node["Status"]["State"] == "ready"
    assert fourth.on("pi4", "dpkg", "--audit").ok() == ""
    assert nothing_proposed(fourth.pyinfra("--dry", "lab/inventory.py", "deploys/swarm.py"))


def test_prometheus_scrapes_a_new_pi_without_being_deployed_again(fourth: Lab) -> None:
    service = next(
        line
        for line in fourth.docker("service", "ls", "--format", "{{.Name}}").ok().split()
        if line.endswith("prometheus")
    )
    running = ("service", "ps", "--filter", "desired-state=running", "--format", "{{.ID}}", service)
    before = fourth.docker(*running).ok()
    fourth.provision().ok()
    deadline = time.monotonic() + 120
    while list(targets(fourth).values()) != ["up"] * 4:
        assert time.monotonic() < deadline, targets(fourth)
        time.sleep(2)
    assert fourth.docker(*running).ok() == before
