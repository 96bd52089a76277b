"""Blank virtual Pis become a swarm; each host is read by `docker exec`, `openssl` and `docker` itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Lab, nothing_proposed
from tests.deploys.tls import ANSWER, as_client, dial

PIS = ["pi1", "pi2", "pi3"]


def test_a_dry_run_on_blank_hosts_does_not_crash(blank: Lab) -> None:
    said = blank.pyinfra("--dry", "lab/inventory.py", "deploys/swarm.py").said
    assert "Traceback" not in said
    assert "Install the engine" in said


def test_every_pi_is_a_ready_node_with_its_own_name(swarm: Lab) -> None:
    nodes = [json.loads(line) for line in swarm.docker("node", "ls", "--format", "{{json .}}").ok().splitlines()]
    assert {node["Hostname"]: node["Status"] for node in nodes} == dict.fromkeys(PIS, "Ready")
    assert [node["Hostname"] for node in nodes if node["ManagerStatus"]] == ["pi1"]
    for pi in PIS:
        assert swarm.on(pi, "cat", "/proc/sys/kernel/hostname").ok().strip() == pi
        assert swarm.on(pi, "getent", "hosts", pi).code == 0


def test_a_dry_run_afterwards_proposes_no_change_on_any_host(swarm: Lab) -> None:
    assert nothing_proposed(swarm.pyinfra("--dry", "lab/inventory.py", "deploys/swarm.py"))


def test_a_second_run_changes_nothing(swarm: Lab) -> None:
    before = {pi: swarm.on(pi, "systemctl", "show", "docker", "-p", "InvocationID").ok() for pi in PIS}
    done = swarm.provision()
    done.ok()
    total = next(line.split() for line in done.said.splitlines() if "Grand total" in line)
    assert total[3:5] == ["-", "-"], done.said
    assert {pi: swarm.on(pi, "systemctl", "show", "docker", "-p", "InvocationID").ok() for pi in PIS} == before


def test_the_labels_say_where_the_registry_is_and_what_the_kernel_can_do(swarm: Lab) -> None:
    inspected = json.loads(swarm.docker("node", "inspect", *PIS).ok())
    labels = {node["Description"]["Hostname"]: node["Spec"]["Labels"] for node in inspected}
    assert [pi for pi in PIS if "registry" in labels[pi]] == ["pi1"]
    assert labels["pi1"]["registry"] == f"{swarm.address('pi1')}:5000"
    assert [pi for pi in PIS if labels[pi].get("prometheus") == "true"] == ["pi2"]
    kernel_has_ipvs = "true" if Path("/proc/net/ip_vs").exists() else "false"
    assert {labels[pi]["ipvs"] for pi in PIS} == {kernel_has_ipvs}


@pytest.mark.parametrize("pi", PIS)
def test_the_nodes_key_is_its_own_and_closed(swarm: Lab, pi: str) -> None:
    folder = "/etc/docker/tls"
    assert swarm.on(pi, "stat", "-c", "%a %U", folder).ok().split() == ["700", "root"]
    assert swarm.on(pi, "stat", "-c", "%a %U", f"{folder}/server-key.pem").ok().split() == ["600", "root"]
    key = swarm.on(pi, "cat", f"{folder}/server-key.pem").ok()
    assert "PRIVATE KEY" in key
    for path in swarm.folder.rglob("*"):
        assert key.encode() not in path.read_bytes(), f"{path} holds the key of {pi}"


def test_a_pi_that_left_and_came_back_is_listed_once(swarm: Lab) -> None:
    before = swarm.docker("node", "inspect", "pi3", "--format", "{{.ID}}").ok()
    swarm.on("pi3", "docker", "swarm", "leave").ok()
    swarm.provision().ok()
    (listed,) = swarm.docker("node", "ls", "--filter", "name=pi3", "--format", "{{.ID}}").ok().split()
    assert listed != before.strip()


def test_a_lost_certificate_and_a_stopped_engine_are_made_good(swarm: Lab) -> None:
    swarm.on("pi2", "rm", "/etc/docker/tls/server-cert.pem").ok()
    swarm.on("pi2", "systemctl", "stop", "docker.socket", "docker.service").ok()
    swarm.provision().ok()
    assert swarm.on("pi2", "systemctl", "is-active", "docker").ok().strip() == "active"
    assert ANSWER in dial(swarm, "pi2", *as_client(swarm.folder))


def test_keys_that_a_person_added_to_daemon_json_stay(swarm: Lab) -> None:
    config = json.loads(swarm.on("pi3", "cat", "/etc/docker/daemon.json").ok())
    edited = json.dumps({**config, "debug": False, "hosts": ["fd://"]})
    swarm.on("pi3", "sh", "-c", f"printf %s '{edited}' > /etc/docker/daemon.json").ok()
    swarm.provision().ok()
    after = json.loads(swarm.on("pi3", "cat", "/etc/docker/daemon.json").ok())
    assert after == {**config, "debug": False}


def test_a_broken_daemon_json_is_named_and_left_alone_and_the_others_carry_on(swarm: Lab) -> None:
    good = swarm.on("pi2", "cat", "/etc/docker/daemon.json").ok()
    swarm.on("pi2", "sh", "-c", "echo '{ \"debug\": ' > /etc/docker/daemon.json").ok()
    swarm.on("pi3", "rm", "-rf", "/etc/docker/certs.d").ok()
    swarm.provision().refused("[pi2]", "/etc/docker/daemon.json is not JSON", "pi2, then run again")
    assert swarm.on("pi2", "cat", "/etc/docker/daemon.json").ok() == '{ "debug": \n'
    assert swarm.on("pi3", "ls", "/etc/docker/certs.d").ok().strip() == f"{swarm.address('pi1')}:5000"
    swarm.on("pi2", "sh", "-c", f"printf %s '{good}' > /etc/docker/daemon.json").ok()
    swarm.provision().ok()


def test_an_interrupted_package_installation_is_finished(swarm: Lab) -> None:
    swarm.on("pi3", "dpkg", "--unpack", "--force-all", "-R", "/var/cache/apt/archives/").code  # noqa: B018
    swarm.provision().ok()
    assert swarm.on("pi3", "dpkg", "--audit").ok() == ""
    assert swarm.on("pi3", "dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "docker.io").ok() == "hi "


@pytest.fixture
def inventory(swarm: Lab, tmp_path: Path) -> Callable[[str], str]:
    """Writes an inventory that starts from the lab's own."""
    return lambda text: swarm.inventory(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("managers = []\nworkers = _managers + _workers", ["no manager"]),
        ("workers = _managers + _workers", ["no manager"]),
        ("managers = _managers\nworkers = _managers + _workers", ["pi1", "`managers` and in `workers`"]),
        (
            "managers = _managers\nworkers = _with(_workers, address='198.18.250.1')",
            ["pi2 and pi3", "198.18.250.1"],
        ),
        (
            "managers = _with(_managers, address='198.18.250')\nworkers = _workers",
            ["'198.18.250'"],
        ),
        (
            "managers = _with(_managers, registry_node='pi7')\nworkers = _with(_workers, registry_node='pi7')",
            ["'pi7'", "pi1"],
        ),
        ("managers = _with(_managers, overlay_pool='10/8')\nworkers = _workers", ["'10/8'"]),
        (
            "managers = _with(_managers, cluster_name='../x')\nworkers = _with(_workers, cluster_name='../x')",
            ["'../x'"],
        ),
    ],
)
def test_a_wrong_inventory_is_refused_in_one_line(
    swarm: Lab, inventory: Callable[[str], str], text: str, words: list[str]
) -> None:
    said = swarm.pyinfra("-y", inventory(text), "deploys/swarm.py").refused(*words)
    assert "Starting operation" not in said


def test_an_unreachable_host_is_named_and_the_others_carry_on(swarm: Lab, inventory: Callable[[str], str]) -> None:
    subnet = swarm.address("pi1").rsplit(".", 1)[0]
    ghost = f"{{**_workers[0][1], 'address': '{subnet}.250', 'ssh_hostname': '{subnet}.250'}}"
    text = f"managers = _managers\nworkers = [*_workers, ('pi9', {ghost})]"
    swarm.on("pi3", "rm", "-rf", "/etc/docker/certs.d").ok()
    swarm.pyinfra("-y", inventory(text), "deploys/swarm.py").refused("[pi9]", f"{subnet}.250")
    assert swarm.on("pi3", "ls", "/etc/docker/certs.d").ok().strip() == f"{swarm.address('pi1')}:5000"


def test_workers_say_so_when_their_manager_is_silent(swarm: Lab, inventory: Callable[[str], str]) -> None:
    subnet = swarm.address("pi1").rsplit(".", 1)[0]
    silent = f"[(n, {{**d, 'ssh_hostname': '{subnet}.250'}}) for n, d in _managers]"
    swarm.pyinfra("-y", inventory(f"managers = {silent}\nworkers = _workers"), "deploys/swarm.py").refused(
        "pi1 does not answer"
    )


def test_without_its_ca_key_the_cluster_is_left_alone_and_the_file_named(swarm: Lab) -> None:
    key, aside = swarm.folder / "ca-key.pem", swarm.folder / "aside"
    shutil.move(key, aside)
    try:
        assert "Starting operation" not in swarm.provision().refused("ca-key.pem")
    finally:
        shutil.move(aside, key)


def test_a_cluster_whose_keys_are_lost_is_taken_over_with_root_on_its_nodes(swarm: Lab) -> None:
    nodes = swarm.docker("node", "ls", "--format", "{{.ID}}").ok()
    for name in ("ca.pem", "ca-key.pem", "cert.pem", "key.pem", "config.json"):
        (swarm.folder / name).unlink()
    swarm.provision().ok()
    assert swarm.docker("node", "ls", "--format", "{{.ID}}").ok() == nodes
    for pi in PIS:
        assert ANSWER in dial(swarm, pi, *as_client(swarm.folder))
