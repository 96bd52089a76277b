"""Names, modules and reboots of hosts in a cluster; each host is read by `docker exec`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.commands import Lab, command

PIS = ("pi1", "pi2", "pi3")
CMDLINE = "console=serial0,115200 root=PARTUUID=4e639091-02 rootwait"
# What makes a Pi look as the firmware leaves it, until its next boot: the memory controller is not there.
WITHOUT_MEMORY = """
set -eu
mkdir -p /boot/firmware
test -e /boot/firmware/cmdline.txt || echo "$1" > /boot/firmware/cmdline.txt
cd /sys/fs/cgroup
if test -e cgroup.controllers; then
    sed 's/\\bmemory\\b//' cgroup.controllers > /run/controllers
    mount --bind /run/controllers cgroup.controllers
else
    mkdir /run/cgroup
    mount -t tmpfs none /run/cgroup
    for name in *; do
        if test "$name" = memory; then continue; fi
        if test -L "$name"; then cp -P "$name" /run/cgroup/; continue; fi
        mkdir "/run/cgroup/$name"
        mount --bind "$name" "/run/cgroup/$name"
    done
    mount --rbind /run/cgroup /sys/fs/cgroup
fi
"""


def hosts_file(lab: Lab, pi: str) -> list[str]:
    return lab.on(pi, "cat", "/etc/hosts").ok().splitlines()


def test_every_node_finds_the_others_by_name_and_itself_as_debian_does(swarm: Lab) -> None:
    for pi in PIS:
        for other in PIS:
            found = swarm.on(pi, "getent", "hosts", other).ok().split()[0]
            assert found == ("127.0.1.1" if pi == other else swarm.address(other))


def test_a_node_that_left_the_inventory_leaves_the_hosts_files_and_a_persons_lines_stay(
    swarm: Lab, tmp_path: Path
) -> None:
    swarm.on("pi1", "sh", "-c", "echo '10.0.0.9 printer # mine' >> /etc/hosts").ok()
    swarm.on("pi1", "sed", "-i", "1i # first", "/etc/hosts").ok()
    before = hosts_file(swarm, "pi1")
    deploy = tmp_path / "prepare.py"
    deploy.write_text("from deploys import cluster, host\nhost.prepare(cluster=cluster.read())\n")
    fewer = swarm.inventory(tmp_path, "managers = _managers\nworkers = _workers[:1]")
    swarm.pyinfra("-y", fewer, str(deploy)).ok()
    assert hosts_file(swarm, "pi1") == [line for line in before if not line.endswith("\tpi3")]
    swarm.provision().ok()
    assert hosts_file(swarm, "pi1") == before


@pytest.fixture
def cloud_init(swarm: Lab) -> Iterator[str]:
    """pi3 with a cloud-init that writes the hosts file at each boot, as the Imager sets it up."""
    swarm.on("pi3", "sh", "-c", "apt-get update -qq; apt-get install -y -qq --no-install-recommends cloud-init").ok()
    config = "manage_etc_hosts: true\\nhostname: raspberrypi\\npreserve_hostname: true\\n"
    swarm.on("pi3", "sh", "-c", f"printf '{config}' > /etc/cloud/cloud.cfg.d/99-test.cfg").ok()
    yield "cloud-init single --name update_etc_hosts --frequency always"
    swarm.on("pi3", "apt-get", "purge", "-y", "-qq", "cloud-init").ok()


def test_names_outlive_a_cloud_init_that_writes_the_hosts_file_at_each_boot(swarm: Lab, cloud_init: str) -> None:
    swarm.on("pi3", "sh", "-c", cloud_init).ok()
    assert swarm.on("pi3", "getent", "hosts", "pi1").code != 0, "cloud-init did not write the file"
    swarm.provision().ok()
    written = hosts_file(swarm, "pi3")
    swarm.on("pi3", "sh", "-c", cloud_init).ok()
    assert hosts_file(swarm, "pi3") == written
    assert swarm.on("pi3", "getent", "hosts", "pi1").ok().split()[0] == swarm.address("pi1")
    assert swarm.on("pi3", "getent", "hosts", "pi3").ok().split()[0] == "127.0.1.1"


def test_modules_that_the_kernel_has_are_loaded_at_boot_and_stay_listed_after_an_upgrade(swarm: Lab) -> None:
    listed = "/etc/modules-load.d/pishelf.conf"
    folder = f"/lib/modules/{swarm.on('pi2', 'uname', '-r').ok().strip()}"
    if swarm.on("pi2", "test", "-e", folder).code == 0:
        pytest.skip("this machine's own modules are there, and must not be played with")
    try:
        # A kernel that has two of them built in.
        swarm.on(
            "pi2", "sh", "-c", f"mkdir -p {folder}; touch {folder}/modules.order; cd {folder};"
            " printf 'kernel/vxlan.ko\\nkernel/br_netfilter.ko\\n' > modules.builtin; depmod",
        ).ok()  # fmt: skip
        swarm.provision().ok()
        assert swarm.on("pi2", "cat", listed).ok().split() == ["br_netfilter", "vxlan"]
        assert swarm.on("pi2", "systemctl", "restart", "systemd-modules-load").code == 0
        swarm.on("pi2", "rm", "-r", folder).ok()
        swarm.provision().ok()
        assert swarm.on("pi2", "cat", listed).ok().split() == ["br_netfilter", "vxlan"]
    finally:
        swarm.on("pi2", "rm", "-rf", folder, listed)


def test_a_member_of_a_swarm_is_not_moved_to_another_address(swarm: Lab, tmp_path: Path) -> None:
    address = swarm.address("pi2")
    network = address.rpartition(".")[0]
    inventory = swarm.inventory(
        tmp_path,
        "managers = _managers\nworkers = [*_workers[1:], *_with(_workers[:1], static=True,"
        f" ssh_hostname={address!r}, address='{network}.99')]",
    )
    swarm.deploy("swarm", inventory=inventory).refused("[pi2]", "pi2 is in a swarm", "deploys/leave.py --limit pi2")
    assert f"{address}/" in swarm.on("pi2", "ip", "-4", "-o", "address", "show", "dev", "eth0").ok()
    swarm.provision().ok()


def test_a_host_needs_no_more_than_its_address_to_be_reached(swarm: Lab, tmp_path: Path) -> None:
    bare = swarm.inventory(
        tmp_path,
        "def _bare(hosts): return [(n, {k: v for k, v in d.items() if k != 'ssh_hostname'}) for n, d in hosts]\n"
        "managers, workers = _bare(_managers), _bare(_workers)",
    )
    swarm.dry("swarm", inventory=bare).ok()


def started(lab: Lab, pi: str) -> datetime:
    state = json.loads(command("docker", "inspect", f"{lab.name}-{pi}").ok())[0]["State"]
    return datetime.fromisoformat(state["StartedAt"])


def engine_started(lab: Lab, pi: str) -> datetime:
    said = lab.on(pi, "systemctl", "show", "--value", "--timestamp=unix", "-p", "ActiveEnterTimestamp", "docker").ok()
    return datetime.fromtimestamp(int(said.strip().lstrip("@")), tz=UTC)


def without_memory(lab: Lab, pi: str) -> None:
    lab.on(pi, "sh", "-c", WITHOUT_MEMORY, "sh", CMDLINE).ok()


def test_pis_that_do_not_count_memory_are_rebooted_one_after_the_other_and_are_ready_again(swarm: Lab) -> None:
    for pi in ("pi2", "pi3"):
        without_memory(swarm, pi)
    before = {pi: started(swarm, pi) for pi in PIS}
    swarm.provision().ok()
    after = {pi: started(swarm, pi) for pi in PIS}
    assert after["pi1"] == before["pi1"]
    for pi in ("pi2", "pi3"):
        assert after[pi] > before[pi]
        assert swarm.on(pi, "cat", "/boot/firmware/cmdline.txt").ok() == f"{CMDLINE} cgroup_enable=memory\n"
    first, second = sorted(("pi2", "pi3"), key=lambda pi: after[pi])
    assert after[second] > engine_started(swarm, first), "the second was rebooted before the first one was back"
    nodes = json.loads(swarm.on("pi1", "docker", "node", "inspect", *PIS).ok())
    assert {node["Status"]["State"] for node in nodes} == {"ready"}
    swarm.provision().ok()
    assert {pi: started(swarm, pi) for pi in PIS} == after
    for pi in ("pi2", "pi3"):
        swarm.on(pi, "rm", "-r", "/boot/firmware").ok()


def test_a_manager_is_not_rebooted_where_that_would_lose_the_quorum(five: Lab, tmp_path: Path) -> None:
    five.on("pi2", "systemctl", "stop", "docker.socket", "docker.service").ok()
    deadline = time.monotonic() + 60
    while "Unreachable" not in five.on("pi1", "docker", "node", "ls").said:
        assert time.monotonic() < deadline
        time.sleep(1)
    before = started(five, "pi3")
    without_memory(five, "pi3")
    try:
        # Without pi2 in the run, which would start its engine.
        five.deploy("swarm", "--limit", "pi3", "--limit", "pi1").refused("[pi3]", "1 of 3 managers reachable, 2 needed")
        assert started(five, "pi3") == before
    finally:
        five.on("pi2", "systemctl", "start", "docker").ok()
        five.on("pi3", "rm", "-r", "/boot/firmware").ok()
        five.reboot("pi3")
        five.provision().ok()
