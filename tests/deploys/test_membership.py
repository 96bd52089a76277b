"""Three managers and two workers; the swarm is read by docker's own command line on the nodes."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Lab, nothing_proposed, until

PIS = [f"pi{number}" for number in range(1, 6)]
MANAGERS = PIS[:3]


def listed(lab: Lab, on: str = "pi1") -> dict[str, dict[str, Any]]:
    """`docker node inspect` of all nodes by name, as a manager tells it."""
    ids = lab.on(on, "docker", "node", "ls", "--quiet").ok().split()
    nodes = json.loads(lab.on(on, "docker", "node", "inspect", *ids).ok())
    assert len({node["Description"]["Hostname"] for node in nodes}) == len(nodes), "a node is listed twice"
    return {node["Description"]["Hostname"]: node for node in nodes}


def managers(lab: Lab, on: str = "pi1") -> list[str]:
    return sorted(name for name, node in listed(lab, on).items() if node["Spec"]["Role"] == "manager")


def reachability(lab: Lab, node: str) -> str:
    """What the managers say of a manager; nothing while they choose a leader."""
    asked = ("docker", "node", "inspect", node, "--format", "{{.ManagerStatus.Reachability}}")
    return lab.on("pi1", *asked).stdout.strip()


def test_three_managers_and_two_workers_are_one_swarm(five: Lab) -> None:
    nodes = listed(five)
    assert sorted(nodes) == PIS
    assert managers(five) == MANAGERS
    assert {node["Status"]["State"] for node in nodes.values()} == {"ready"}
    assert {nodes[name]["ManagerStatus"]["Reachability"] for name in MANAGERS} == {"reachable"}


def test_a_dry_run_afterwards_proposes_no_change(five: Lab) -> None:
    assert nothing_proposed(five.dry("swarm"))


def test_roles_follow_a_host_from_group_to_group_and_back(five: Lab, tmp_path: Path) -> None:
    swapped = five.inventory(
        tmp_path, "managers = [*_managers[:2], _workers[0]]\nworkers = [_managers[2], _workers[1]]"
    )
    five.deploy("swarm", inventory=swapped).ok()
    assert managers(five) == ["pi1", "pi2", "pi4"]
    assert nothing_proposed(five.dry("swarm", inventory=swapped))
    five.provision().ok()
    assert managers(five) == MANAGERS


def test_a_demotion_that_would_lose_the_quorum_is_refused_with_the_numbers(five: Lab, tmp_path: Path) -> None:
    five.on("pi2", "systemctl", "stop", "docker.socket", "docker.service").ok()
    until(lambda: reachability(five, "pi2") == "unreachable")
    # Without pi2 in the run, which would start it again.
    fewer = five.inventory(
        tmp_path,
        "managers = _with(_managers[:1], prometheus_node='pi1')\n"
        "workers = _with([_managers[2], *_workers], prometheus_node='pi1')",
    )
    five.deploy("swarm", inventory=fewer).refused("[pi3]", "1 of 2 managers reachable, 2 needed")
    assert managers(five) == MANAGERS
    five.provision().ok()
    until(lambda: reachability(five, "pi2") == "reachable")


def test_two_different_swarms_are_refused_and_named_before_anything_is_touched(five: Lab) -> None:
    five.on("pi5", "docker", "swarm", "leave").ok()
    five.on("pi5", "docker", "swarm", "init", "--advertise-addr", five.address("pi5")).ok()
    five.on("pi4", "rm", "-rf", "/etc/docker/certs.d").ok()
    try:
        said = five.provision().refused("different swarms", "pi1 and pi2 and pi3 and pi4 in", "pi5 in", "leave.py")
        assert "Trust the registry" not in said
        assert five.on("pi4", "ls", "/etc/docker/certs.d").code != 0
    finally:
        five.on("pi5", "docker", "swarm", "leave", "--force").ok()
    five.provision().ok()
    assert sorted(listed(five)) == PIS


def test_labels_and_availability_follow_the_inventory_and_a_persons_label_stays(five: Lab, tmp_path: Path) -> None:
    five.on("pi1", "docker", "node", "update", "--label-add", "mine=yes", "pi4").ok()
    with_disk = five.inventory(
        tmp_path,
        "managers = _managers\n"
        "workers = [*_with(_workers[:1], labels={'disk': 'ssd'}, availability='drain'), _workers[1]]",
    )
    five.deploy("swarm", inventory=with_disk).ok()
    spec = listed(five)["pi4"]["Spec"]
    assert (spec["Labels"]["disk"], spec["Labels"]["mine"], spec["Availability"]) == ("ssd", "yes", "drain")
    assert nothing_proposed(five.dry("swarm", inventory=with_disk))
    five.provision().ok()
    spec = listed(five)["pi4"]["Spec"]
    assert "disk" not in spec["Labels"]
    assert (spec["Labels"]["mine"], spec["Availability"]) == ("yes", "active")
    five.on("pi1", "docker", "node", "update", "--label-rm", "mine", "pi4").ok()


def test_a_locked_manager_is_unlocked_with_the_key_that_only_the_cluster_folder_has(five: Lab, tmp_path: Path) -> None:
    locking = five.inventory(
        tmp_path,
        "managers = _with(_managers, autolock=True)\nworkers = _with(_workers, autolock=True)",
    )
    said = five.pyinfra("-y", "-vvv", "--diff", locking, "deploys/swarm.py").said
    key = five.on("pi1", "docker", "swarm", "unlock-key", "--quiet").ok().strip()
    kept = five.folder / "unlock-key"
    assert kept.read_text().strip() == key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert nothing_proposed(five.dry("swarm", inventory=locking))
    key = five.on("pi1", "docker", "swarm", "unlock-key", "--rotate", "--quiet").ok().strip()
    said += five.pyinfra("-y", "-vvv", "--diff", locking, "deploys/swarm.py").said
    assert kept.read_text().strip() == key, "a changed key was not kept"
    five.restart_engine("pi2")
    assert "locked" in five.on("pi2", "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").ok()
    unlocking = five.pyinfra("-y", "-vvv", "--diff", locking, "deploys/swarm.py")
    unlocking.ok()
    assert five.on("pi2", "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").ok().strip() == "active"
    assert key not in said + unlocking.said
    five.provision().ok()
    assert not kept.exists()
    assert "unlock" not in five.on("pi1", "docker", "swarm", "unlock-key", "--quiet").stdout


def test_a_join_that_fails_says_what_could_not_be_reached_from_where(five: Lab) -> None:
    block = ("OUTPUT", "-p", "tcp", "--dport", "2377", "-j", "DROP")
    five.on("pi5", "docker", "swarm", "leave").ok()
    five.on("pi5", "iptables", "-I", *block).ok()
    try:
        five.provision().refused("[pi5]", "TCP 2377 of pi1", "cannot be reached from pi5")
    finally:
        five.on("pi5", "iptables", "-D", *block).ok()
    five.provision().ok()
    assert sorted(listed(five)) == PIS


def test_a_member_whose_address_in_the_inventory_is_another_one_is_refused_with_both(five: Lab, tmp_path: Path) -> None:
    elsewhere = five.inventory(
        tmp_path,
        "managers = _managers\nworkers = [_workers[0], *_with(_workers[1:], data_path_address='198.18.250.5')]",
    )
    five.deploy("swarm", inventory=elsewhere).refused("[pi5]", five.address("pi5"), "198.18.250.5", "leave.py")


def test_one_host_can_be_provisioned_alone_and_finds_its_manager(five: Lab) -> None:
    five.on("pi5", "docker", "swarm", "leave").ok()
    five.deploy("swarm", "--limit", "pi5").ok()
    assert listed(five)["pi5"]["Status"]["State"] == "ready"


def test_an_even_number_of_managers_is_warned_of_with_what_it_tolerates(five: Lab, tmp_path: Path) -> None:
    two = five.inventory(tmp_path, "managers = _managers[:2]\nworkers = [_managers[2], *_workers]")
    assert "2 managers tolerate 0 failures" in five.dry("swarm", inventory=two).said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("managers = _with(_managers, adress='1.2.3.4')\nworkers = _workers",
         ["`adress`", "did you mean `address`?"]),
        ("managers = [*_managers, _managers[0]]\nworkers = _workers", ["pi1 is in `managers` and in `managers`"]),
        ("managers = _managers\nworkers = _with(_workers, autolock=True)",
         ["pi1 and pi4", "different settings"]),
        ("managers = _managers\nworkers = _with(_workers, availability='off')",
         ["'off'", "'drain'"]),
        ("managers = _with(_managers, overlay_pool='198.18.0.0/16')\n"
         "workers = _with(_workers, overlay_pool='198.18.0.0/16')",
         ["overlay_pool 198.18.0.0/16 overlaps 198.18.", "choose another"]),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_the_run_before_a_host_is_touched(
    five: Lab, tmp_path: Path, text: str, words: list[str]
) -> None:
    said = five.deploy("swarm", inventory=five.inventory(tmp_path, text)).refused(*words)
    assert "Name the host" not in said
