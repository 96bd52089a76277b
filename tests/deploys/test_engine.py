"""Engines that live through what people do to them; each is read by `docker exec` and by docker itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError

from deploys.settings import ClusterSettings, parse
from tests.commands import PYINFRA, ROOT, Lab, nothing_proposed
from tests.deploys.test_membership import PIS, listed, until
from tests.deploys.test_swarm import dial

DAEMON_JSON = "/etc/docker/daemon.json"


def read(lab: Lab, node: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.on(node, "cat", DAEMON_JSON).ok())
    return found


def write(lab: Lab, node: str, content: object) -> None:
    text = json.dumps(content)
    lab.on(node, "sh", "-c", f"printf %s '{text}' > {DAEMON_JSON}").ok()


def invocation(lab: Lab, node: str) -> str:
    """Changes with each start of the engine."""
    return lab.on(node, "systemctl", "show", "docker", "-p", "InvocationID", "--value").ok().strip()


def now(lab: Lab, node: str) -> str:
    return lab.on(node, "date", "+%s").ok().strip()


def starts(lab: Lab, node: str, since: str) -> list[float]:
    """When systemd started the engine since then, in seconds."""
    return journal(lab, node, since, "Started docker.service")


def journal(lab: Lab, node: str, since: str, words: str) -> list[float]:
    """When systemd said these words of the engine since then."""
    command = ("journalctl", "--unit", "docker", "--since", f"@{since}", "--output", "json", "--no-pager")
    entries = [json.loads(line) for line in lab.on(node, *command).ok().splitlines()]
    return [float(entry["__REALTIME_TIMESTAMP"]) / 1e6 for entry in entries if entry["MESSAGE"].startswith(words)]


@contextmanager
def configuration(lab: Lab, node: str) -> Iterator[dict[str, Any]]:
    """A node's daemon.json; what becomes of it in a test is made good afterwards."""
    good = read(lab, node)
    try:
        yield dict(good)
    finally:
        write(lab, node, good)
        lab.deploy("swarm", "--limit", node).ok()
        assert read(lab, node) == good
        assert lab.on(node, "systemctl", "is-active", "docker").ok().strip() == "active"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine_source", "snap"),
        ("engine_version", "latest"),
        ("engine_version", "26.1; reboot"),
        ("engine_version", 26),
        ("engine_repository", "example.org/linux"),
        ("engine_repository", "https://example.org/'$(reboot)'"),
        ("engine_key_fingerprint", "9DC85822"),
        ("engine_hardening", "off"),
    ],
)
def test_a_wrong_setting_of_the_engine_is_refused_by_name(name: str, value: object) -> None:
    others = {"cluster_name": "x", "registry_node": "x", "prometheus_node": "x", "overlay_pool": "10.0.0.0/16"}
    with pytest.raises(DeployError, match=f"{name} = "):
        parse(ClusterSettings, {**others, name: value}, "group_data/all.py")


@pytest.mark.parametrize("version", ["26", "26.1.5", "26.1.5+dfsg1-9+deb13u1+b1", "5:28.5.2-1~debian.13~trixie"])
def test_a_version_is_taken_as_apt_and_as_docker_write_it(version: str) -> None:
    others = {"cluster_name": "x", "registry_node": "x", "prometheus_node": "x", "overlay_pool": "10.0.0.0/16"}
    assert parse(ClusterSettings, {**others, "engine_version": version}, "x").engine_version == version


def test_the_engine_is_held_and_a_hold_that_a_person_took_away_comes_back(swarm: Lab) -> None:
    held = {"docker.io", "docker-cli", "containerd", "runc"}
    for pi in PIS[:3]:
        assert set(swarm.on(pi, "apt-mark", "showhold").ok().split()) == held
    swarm.on("pi2", "apt-mark", "unhold", "docker.io", "runc").ok()
    before = invocation(swarm, "pi2")
    swarm.deploy("swarm", "--limit", "pi2").ok()
    assert set(swarm.on("pi2", "apt-mark", "showhold").ok().split()) == held
    assert invocation(swarm, "pi2") == before


def test_a_program_that_provisioning_needs_comes_back(swarm: Lab) -> None:
    swarm.on("pi3", "dpkg", "--remove", "--force-depends", "curl", "nftables").ok()
    swarm.deploy("swarm", "--limit", "pi3").ok()
    for program in ("curl", "nft"):
        swarm.on("pi3", program, "--version").ok()


def test_an_engine_is_hardened_and_never_kept_alive_alone(swarm: Lab) -> None:
    info = json.loads(swarm.on("pi1", "docker", "info", "--format", "{{json .}}").ok())
    assert "name=no-new-privileges" in info["SecurityOptions"]
    assert (info["LoggingDriver"], info["LiveRestoreEnabled"]) == ("local", False)
    bridge = json.loads(swarm.on("pi1", "docker", "network", "inspect", "bridge").ok())[0]["Options"]
    assert bridge["com.docker.network.bridge.enable_icc"] == "false"


def test_hardening_is_off_by_a_setting_and_what_would_harm_is_put_right(swarm: Lab, tmp_path: Path) -> None:
    """A person's keys stay; live-restore, which no swarm can have, and a door without a lock do not."""
    soft = swarm.inventory(
        tmp_path,
        "managers = _with(_managers, engine_hardening=False)\nworkers = _with(_workers, engine_hardening=False)",
    )
    with configuration(swarm, "pi3") as config:
        mine = {"debug": True, "features": {"containerd-snapshotter": False, "buildkit": True}, "icc": True}
        write(swarm, "pi3", config | mine | {"live-restore": True, "tlsverify": False})
        swarm.deploy("swarm", "--limit", "pi3", inventory=soft).ok()
        after = read(swarm, "pi3")
        assert after["features"] == {"containerd-snapshotter": True, "buildkit": True}
        assert (after["debug"], after["icc"]) == (True, True)
        assert (after["live-restore"], after["tlsverify"]) == (False, True)
        assert not after.keys() & {"no-new-privileges", "userland-proxy"}
        assert '"ApiVersion"' not in dial(swarm, "pi3", "-ign_eof")
        info = json.loads(swarm.on("pi3", "docker", "info", "--format", "{{json .}}").ok())
        assert "name=no-new-privileges" not in info["SecurityOptions"]


def test_what_the_engine_would_not_take_is_never_put_in_place(swarm: Lab) -> None:
    before = invocation(swarm, "pi3")
    with configuration(swarm, "pi3") as config:
        written = {**config, "debugg": True, "log-driver": "json-file"}
        write(swarm, "pi3", written)
        swarm.deploy("swarm", "--limit", "pi3").refused("[pi3]", "debugg", DAEMON_JSON, "then run again")
        assert read(swarm, "pi3") == written
        assert invocation(swarm, "pi3") == before
        # The same where all of our own keys are right, and only a restart is due.
        write(swarm, "pi3", {**config, "debugg": True})
        swarm.deploy("swarm", "--limit", "pi3").refused("[pi3]", "debugg", "it runs on", "then run again")
        assert invocation(swarm, "pi3") == before


def test_an_engine_that_does_not_start_again_has_its_old_configuration_back(swarm: Lab) -> None:
    with configuration(swarm, "pi3") as config:
        old = {**config, "hosts": ["fd://"]}
        write(swarm, "pi3", old)
        swarm.restart_engine("pi3")
        taken = (
            "import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
            " s.bind(('', 2376)); s.listen(); time.sleep(600)"
        )
        swarm.on("pi3", "systemd-run", "--unit", "taken", "python3", "-c", taken).ok()
        until(lambda: "2376" in swarm.on("pi3", "ss", "-Hltn", "sport = 2376").ok())
        try:
            said = swarm.deploy("swarm", "--limit", "pi3").refused(
                "[pi3]", "address already in use", "the old one is back"
            )
            assert read(swarm, "pi3") == old
            assert swarm.on("pi3", "systemctl", "is-active", "docker").ok().strip() == "active"
            assert swarm.on("pi3", "sh", "-c", f"ls {DAEMON_JSON}.*").code != 0
            node = listed(swarm)["pi3"]
            assert (node["Status"]["State"], node["Spec"]["Availability"]) == ("ready", "active")
            assert "Traceback" not in said
        finally:
            swarm.on("pi3", "systemctl", "stop", "taken").ok()


def test_an_engine_that_cannot_start_at_all_is_named_with_its_own_words_and_the_others_carry_on(swarm: Lab) -> None:
    with configuration(swarm, "pi3") as config:
        write(swarm, "pi3", {**config, "log-opts": {**config["log-opts"], "no-such": "1"}})
        swarm.on("pi3", "systemctl", "stop", "docker.socket", "docker.service").ok()
        swarm.on("pi2", "rm", "-rf", "/etc/docker/certs.d").ok()
        swarm.provision().refused("[pi3]", "does not start", "no-such", "then run again")
        assert swarm.on("pi2", "ls", "/etc/docker/certs.d").ok().split() == [f"{swarm.address('pi1')}:5000"]
        assert listed(swarm)["pi2"]["Status"]["State"] == "ready"


def test_nftables_as_the_engines_own_firewall_is_refused_for_a_swarm(swarm: Lab) -> None:
    with configuration(swarm, "pi3") as config:
        write(swarm, "pi3", {**config, "firewall-backend": "nftables"})
        swarm.deploy("swarm", "--limit", "pi3").refused("[pi3]", "firewall-backend 'nftables'", "take that line out")


def test_rules_of_the_other_iptables_are_told_of(swarm: Lab) -> None:
    rule = ("OUTPUT", "-d", "192.0.2.1", "-j", "ACCEPT")
    swarm.on("pi3", "iptables-legacy", "-A", *rule).ok()
    try:
        done = swarm.deploy("swarm", "--limit", "pi3")
        done.ok()
        assert "[pi3] has rules of iptables-legacy" in done.said
    finally:
        swarm.on("pi3", "iptables-legacy", "-D", *rule).ok()
    assert "iptables-legacy" not in swarm.deploy("swarm", "--limit", "pi3").said


def test_many_reasons_are_one_restart_also_where_systemd_has_had_enough_of_them(swarm: Lab) -> None:
    for _ in range(3):
        swarm.on("pi3", "sh", "-c", "systemctl kill --signal KILL docker; sleep 1; systemctl start docker").code  # noqa: B018
    since = now(swarm, "pi3")
    swarm.on("pi3", "rm", "/etc/docker/tls/server-cert.pem", "/etc/systemd/system/docker.service.d/cluster.conf").ok()
    write(swarm, "pi3", {**read(swarm, "pi3"), "userland-proxy": True})
    swarm.deploy("swarm", "--limit", "pi3").ok()
    assert len(starts(swarm, "pi3", since)) == 1
    until(lambda: listed(swarm)["pi3"]["Status"]["State"] == "ready")


def test_a_program_that_was_replaced_under_a_running_engine_is_a_reason_to_restart(swarm: Lab) -> None:
    swarm.on("pi3", "sh", "-c", "cp /usr/sbin/dockerd /usr/sbin/new && mv /usr/sbin/new /usr/sbin/dockerd").ok()
    before = invocation(swarm, "pi3")
    swarm.deploy("swarm", "--limit", "pi3").ok()
    assert invocation(swarm, "pi3") != before
    assert nothing_proposed(swarm.dry("swarm"))


IDLE = "sleep 98765"


@pytest.fixture(scope="module")
def idle(five: Lab) -> Iterator[Lab]:
    """A service with two tasks that may run anywhere, though not on one node, and one that is pinned to pi5."""
    files = "tar -chf - /usr/bin/sleep $(ldd /usr/bin/sleep | grep -o '/[^ ]*') 2>/dev/null"
    for pi in PIS:
        five.on(pi, "sh", "-c", f"{files} | docker import - idle").ok()
    create = ("docker", "service", "create", "--quiet", "--no-resolve-image", "--stop-grace-period", "1s")
    five.on(
        "pi1", *create, "--name", "two", "--replicas", "2", "--replicas-max-per-node", "1", "idle", *IDLE.split()
    ).ok()
    five.on("pi1", *create, "--name", "pinned", "--constraint", "node.hostname==pi5", "idle", "sleep", "infinity").ok()
    yield five
    five.on("pi1", "docker", "service", "rm", "two", "pinned").ok()


def runs(lab: Lab) -> int:
    """How many tasks of `two` have a process, on all nodes together."""
    return sum(lab.on(pi, "pgrep", "--full", "--exact", IDLE).code == 0 for pi in PIS)


def stale(lab: Lab, *nodes: str) -> None:
    """Make these engines run with something older than what is there."""
    for node in nodes:
        lab.on(node, "touch", DAEMON_JSON).ok()


def availability(lab: Lab) -> dict[str, str]:
    return {name: node["Spec"]["Availability"] for name, node in listed(lab).items()}


def test_members_restart_one_at_a_time_and_a_service_goes_on_running(idle: Lab) -> None:
    since = now(idle, "pi1")
    stale(idle, *PIS)
    seen: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(idle.provision)
        while not run.done():
            seen.append(runs(idle))
    said = run.result().ok()
    assert min(seen) >= 1, seen
    assert re.search(r"\[pi5\] .*pinned.*: with fewer tasks, or none", run.result().said), said
    restarts = sorted((*journal(idle, pi, since, "Stopping docker"), *starts(idle, pi, since)) for pi in PIS)
    assert all(len(restart) == 2 for restart in restarts), restarts
    assert all(before[1] < after[0] for before, after in pairwise(restarts)), restarts
    assert set(availability(idle).values()) == {"active"}
    until(lambda: runs(idle) == 2)


def test_a_run_that_was_killed_while_a_node_was_drained_is_made_good_by_the_next(idle: Lab) -> None:
    stale(idle, "pi4")
    run = subprocess.Popen(
        [PYINFRA, "-y", "lab/inventory.py", "deploys/swarm.py"],
        cwd=ROOT, env={**os.environ, "LAB": idle.name, "MANAGERS": "3"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: availability(idle)["pi4"] == "drain")
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    idle.provision().ok()
    assert set(availability(idle).values()) == {"active"}
    assert nothing_proposed(idle.dry("swarm"))


def test_a_manager_does_not_restart_where_the_others_could_no_longer_decide(five: Lab, tmp_path: Path) -> None:
    five.on("pi2", "systemctl", "stop", "docker.socket", "docker.service").ok()
    until(lambda: listed(five)["pi2"]["ManagerStatus"]["Reachability"] == "unreachable")
    stale(five, "pi3", "pi4")
    before = {pi: invocation(five, pi) for pi in PIS}
    # Without pi2 in the run, which would start it again.
    fewer = five.inventory(
        tmp_path,
        "managers = _with([_managers[0], _managers[2]], prometheus_node='pi1')\n"
        "workers = _with(_workers, prometheus_node='pi1')",
    )
    five.deploy("swarm", inventory=fewer).refused("[pi3]", "1 of 3 managers reachable, 2 needed", "then run again")
    after = {pi: invocation(five, pi) for pi in PIS}
    # Whether pi4, a worker, had its turn before pi3 was refused is up to pyinfra's order; the managers stay up.
    assert {pi for pi in PIS if after[pi] != before[pi]} <= {"pi4"}
    five.provision().ok()
    assert invocation(five, "pi3") != before["pi3"]


def test_a_manager_of_a_locked_swarm_is_unlocked_after_its_restart(five: Lab, tmp_path: Path) -> None:
    locking = five.inventory(
        tmp_path, "managers = _with(_managers, autolock=True)\nworkers = _with(_workers, autolock=True)"
    )
    five.deploy("swarm", inventory=locking).ok()
    stale(five, "pi2")
    before = invocation(five, "pi2")
    five.deploy("swarm", "--limit", "pi2", inventory=locking).ok()
    assert invocation(five, "pi2") != before
    assert five.on("pi2", "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").ok().strip() == "active"
    five.provision().ok()
