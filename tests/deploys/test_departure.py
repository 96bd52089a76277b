"""Hosts lose their work, leave and are reset; the cluster that stays is asked by docker's own command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import ROOT, Lab, command, nothing_proposed, until
from tests.deploys import service
from tests.deploys.test_membership import PIS, listed, managers, reachability

YES = ("--data", "yes=true")
METRICS_UNIT = "/etc/systemd/system/pishelf-metrics.service"


def closed(lab: Lab, node: str, port: int) -> bool:
    """Whether nobody answers on a node's TCP port."""
    dial = f"exec 3<>/dev/tcp/{lab.address(node)}/{port}"
    return command("timeout", "3", "bash", "-c", dial).code != 0


def test_a_drained_hosts_work_goes_on_elsewhere_and_comes_back_with_the_next_provisioning(five: Lab) -> None:
    service.start(five, PIS)
    until(lambda: sum(service.answers(five.address(pi)) for pi in PIS) == 2)
    busy = next(pi for pi in PIS if service.answers(five.address(pi)))
    with service.used([five.address(pi) for pi in PIS]) as answered:
        five.deploy("drain", "--limit", busy).ok()
        assert not service.answers(five.address(busy)), "it still works"
        assert sum(service.answers(five.address(pi)) for pi in PIS) == 2
    assert min(answered) >= 1, answered
    service.stop(five, "pi1")
    five.provision().ok()
    five.deploy("drain", "--limit", "pi4").ok()
    assert listed(five)["pi4"]["Spec"]["Availability"] == "drain"
    assert nothing_proposed(five.dry("drain", "--limit", "pi4"))
    five.provision().ok()
    assert listed(five)["pi4"]["Spec"]["Availability"] == "active"


@pytest.mark.parametrize("verb", ["drain", "leave"])
def test_what_is_meant_for_one_host_is_not_done_to_all(five: Lab, verb: str) -> None:
    five.deploy(verb).refused("--limit pi3")
    assert {node["Spec"]["Availability"] for node in listed(five).values()} == {"active"}


def test_a_host_that_leaves_is_forgotten_and_closed_and_may_come_back(five: Lab) -> None:
    five.deploy("leave", "--limit", "pi5").ok()
    assert sorted(listed(five)) == PIS[:4]
    assert closed(five, "pi5", 2376)
    assert five.on("pi5", "test", "-e", "/etc/docker/tls").code != 0
    assert five.on("pi5", "test", "-e", METRICS_UNIT).code != 0
    assert five.on("pi5", "curl", "--silent", "http://127.0.0.1:9323/metrics").code != 0
    assert five.on("pi5", "docker", "info", "--format", "{{.Swarm.LocalNodeState}}").ok().strip() == "inactive"
    assert nothing_proposed(five.dry("leave", "--limit", "pi5"))
    five.provision().ok()
    assert sorted(listed(five)) == PIS
    assert not closed(five, "pi5", 2376)


def test_a_manager_that_leaves_is_none_any_more_and_the_quorum_holds(five: Lab) -> None:
    five.deploy("leave", "--limit", "pi1").ok()
    assert managers(five, on="pi2") == ["pi2", "pi3"]
    five.provision().ok()
    assert managers(five) == PIS[:3]


def test_a_manager_does_not_leave_where_the_others_could_no_longer_decide(five: Lab) -> None:
    five.on("pi2", "systemctl", "stop", "docker.socket", "docker.service").ok()
    until(lambda: reachability(five, "pi2") == "unreachable")
    five.deploy("leave", "--limit", "pi3").refused("[pi3]", "1 of 2 managers reachable, 2 needed")
    assert managers(five) == PIS[:3]
    five.provision().ok()
    until(lambda: reachability(five, "pi2") == "reachable")


def test_a_host_whose_engine_stands_still_is_not_taken_out_by_halves_and_a_reset_takes_it_out_whole(five: Lab) -> None:
    five.on("pi5", "systemctl", "stop", "docker.socket", "docker.service").ok()
    five.deploy("leave", "--limit", "pi5").refused("[pi5]", "its engine does not run", "systemctl start docker")
    assert five.on("pi5", "test", "-e", "/etc/docker/tls/server-key.pem").code == 0
    assert sorted(listed(five)) == PIS
    five.deploy("reset", *YES, "--limit", "pi5").ok()
    assert sorted(listed(five)) == PIS[:4]
    five.provision().ok()
    assert sorted(listed(five)) == PIS


def test_a_swarm_does_not_end_because_its_last_manager_leaves(swarm: Lab) -> None:
    swarm.deploy("leave", "--limit", "pi1").refused("[pi1]", "pi2, pi3 would be left")
    assert listed(swarm)["pi1"]["Spec"]["Availability"] == "active"


def test_a_reset_asks_first_and_without_an_answer_changes_nothing(five: Lab) -> None:
    five.deploy("reset", "--limit", "pi5").refused("[pi5]", "--data yes=true")
    assert sorted(listed(five)) == PIS


def test_a_host_that_was_reset_is_blank_and_joins_again_without_a_phantom(five: Lab) -> None:
    before = listed(five)["pi5"]["ID"]
    five.deploy("reset", *YES, "--limit", "pi5").ok()
    assert sorted(listed(five)) == PIS[:4]
    assert_blank(five, "pi5")
    assert nothing_proposed(five.dry("reset", *YES, "--limit", "pi5"))
    five.provision().ok()
    assert sorted(listed(five)) == PIS
    assert listed(five)["pi5"]["ID"] != before
    assert {node["Status"]["State"] for node in listed(five).values()} == {"ready"}


def assert_blank(lab: Lab, node: str) -> None:
    """What provisioning made is not there any more."""
    assert lab.on(node, "sh", "-c", "command -v dockerd").code != 0
    assert lab.on(node, "sh", "-c", "ls -A /var/lib/docker /var/lib/containerd | grep -v ^/var").stdout.strip() == ""
    ours = ("/etc/pishelf", "/usr/local/lib/pishelf", "/run/pishelf-metrics", METRICS_UNIT)
    for path in ("/etc/docker", "/etc/systemd/system/docker.service.d", *ours):
        assert lab.on(node, "test", "-e", path).code != 0, path
    assert "pishelf" not in lab.on(node, "nft", "list", "tables").ok()
    assert lab.on(node, "apt-mark", "showhold").ok() == ""
    assert all(closed(lab, node, port) for port in (2376, 2377, 7946))


def test_a_whole_cluster_that_was_reset_begins_anew_on_the_first_manager_that_answers(
    five: Lab, tmp_path: Path
) -> None:
    five.deploy("reset", *YES).ok()
    for pi in PIS:
        assert_blank(five, pi)
    ghost = five.address("pi1").rsplit(".", 1)[0] + ".250"
    without = five.inventory(
        tmp_path,
        f"managers = [*_with(_managers[:1], ssh_hostname='{ghost}', registry_node='pi2'),"
        " *_with(_managers[1:], registry_node='pi2')]\n"
        f"workers = [*_with(_workers[:1], registry_node='pi2', data_path_address='{five.address('pi4')}'),"
        " *_with(_workers[1:], registry_node='pi2')]",
    )
    five.deploy("swarm", inventory=without).refused("[pi1]")
    assert managers(five, on="pi2") == ["pi2", "pi3"]
    state = json.loads(five.on("pi4", "cat", "/var/lib/docker/swarm/docker-state.json").ok())
    assert state["DataPathAddr"] == five.address("pi4")
    five.provision().ok()
    assert managers(five) == PIS[:3]
    assert sorted(listed(five)) == PIS


# What is meant for one host says so without being asked.
ENTRIES = sorted(path.stem for path in (ROOT / "deploys").glob("*.py") if "cluster.read()" in path.read_text())


@pytest.mark.parametrize("name", ENTRIES)
def test_a_dry_run_of_any_deploy_on_blank_hosts_does_not_crash(blank_only: Lab, name: str) -> None:
    done = blank_only.dry(name, "--limit", "pi1", *YES)
    assert "Traceback" not in done.said
    assert "internal exception" not in done.said
    assert blank_only.on("pi1", "sh", "-c", "command -v dockerd").code != 0
