"""The lab as a person uses it; what it did is read by docker's own command line and by ssh."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import ROOT, Done, Lab, command
from tests.conftest import NAME


def ssh(lab: Lab, node: str, *argv: str) -> Done:
    """Log in as a person would, and accept no host key that the lab did not learn."""
    return command(
        *("ssh", "-i", lab.folder / "id_ed25519", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
        *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={lab.folder / 'known_hosts'}"),
        *("-o", "GlobalKnownHostsFile=/dev/null", "-F", "none", "-o", "ConnectTimeout=10"),
        f"pi@{lab.address(node)}",
        *argv,
    )


def containers(lab: Lab) -> dict[str, str]:
    """Name -> id of the lab's containers, running or not."""
    ids = command("docker", "ps", "-aq", "--no-trunc", "--filter", f"label=pishelf.lab={lab.name}").ok().split()
    return {command("docker", "inspect", "--format", "{{.Name}}", one).ok().strip("/\n"): one for one in ids}


def everything_of_these_tests() -> set[str]:
    """Containers, volumes and networks of these tests' own labs; others may come and go meanwhile."""
    only = ("--filter", f"name={NAME}-small", "--filter", f"name={NAME}-second")
    seen = command("docker", "ps", "-a", *only, "--format", "container {{.Names}} {{.ID}}").ok()
    seen += command("docker", "volume", "ls", *only, "--format", "volume {{.Name}}").ok()
    seen += command("docker", "network", "ls", *only, "--format", "network {{.Name}} {{.ID}}").ok()
    return set(seen.splitlines())


def other_clone(folder: Path) -> Path:
    """As much of another clone of this repository as `python -m lab` needs."""
    for package in ("lab", "image", "pki"):
        shutil.copytree(ROOT / package, folder / package)
    return folder


def lab_of(clone: Path, *argv: str) -> Done:
    words = (sys.executable, "-m", "lab", *argv)
    done = subprocess.run(words, cwd=clone, capture_output=True, text=True, check=False)
    return Done(words, done.returncode, done.stdout, done.stderr)


def test_the_owner_gets_in_by_ssh_and_becomes_root(small):
    assert ssh(small, "pi1", "sudo", "-n", "id", "-u").ok() == "0\n"


def test_nobody_gets_in_without_the_key(small, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id_ed25519"], check=True)
    stranger = command(
        *("ssh", "-i", tmp_path / "id_ed25519", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-F", "none"),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *(f"pi@{small.address('pi1')}", "true"),
    )
    stranger.refused("Permission denied (publickey)")


def test_a_blank_pi_has_no_engine_and_the_name_of_a_blank_pi(small):
    assert small.on("pi1", "sh", "-c", "command -v docker dockerd").code != 0
    assert small.on("pi1", "hostname").ok() == "raspberrypi\n"


def test_a_blank_pi_finds_itself_by_name(small):
    assert small.on("pi1", "getent", "ahostsv4", "localhost").ok().startswith("127.0.0.1 ")
    assert small.on("pi1", "getent", "ahostsv4", "raspberrypi").ok().startswith("127.0.1.1 ")


def test_keys_are_readable_by_their_owner_only(small):
    assert stat.S_IMODE(small.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in small.folder.iterdir()} == {0o600}
    on_node = small.on("pi1", "stat", "-c", "%a %U", "/home/pi/.ssh", "/home/pi/.ssh/authorized_keys").ok()
    assert on_node == "700 pi\n600 pi\n"


def test_git_never_sees_the_keys(small):
    command("git", "check-ignore", small.folder / "id_ed25519").ok()


def test_up_again_replaces_nothing(small):
    before = containers(small)
    assert "nothing to do" in small.python("lab", "up", "--nodes", str(len(before))).said
    assert containers(small) == before


def test_status_for_programs_is_json(small):
    (node,) = [one for one in json.loads(small.python("lab", "status", "--json").ok()) if one["name"] == "pi1"]
    assert node == {
        "name": "pi1",
        "container": f"{small.name}-pi1",
        "address": small.address("pi1"),
        "state": "running",
    }


def test_a_name_given_by_provisioning_outlives_a_restart(small):
    ssh(small, "pi1", "sudo", "hostnamectl", "hostname", "shelf1").ok()
    command("docker", "restart", f"{small.name}-pi1").ok()
    small.python("lab", "up", "--nodes", "1").ok()
    assert ssh(small, "pi1", "hostname").ok() == "shelf1\n"


def test_a_pi_reboots(small):
    before = small.on("pi1", "stat", "-c", "%Y", "/proc/1").ok()
    small.on("pi1", "systemctl", "reboot")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and small.on("pi1", "stat", "-c", "%Y", "/proc/1").stdout in ("", before):
        time.sleep(0.2)
    small.python("lab", "up", "--nodes", "1").ok()
    assert small.on("pi1", "stat", "-c", "%Y", "/proc/1").ok() != before


def test_the_lab_grows_and_never_shrinks(small):
    before = containers(small)
    small.python("lab", "up", "--nodes", "2").ok()
    grown = containers(small)
    assert grown.keys() == {f"{small.name}-pi1", f"{small.name}-pi2"}
    assert before.items() <= grown.items()
    assert "keeps them: pi2" in small.python("lab", "up", "--nodes", "1").said
    assert containers(small) == grown


def test_each_pi_is_its_own(small):
    small.python("lab", "up", "--nodes", "2").ok()
    for file in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert small.on("pi1", "cat", file).ok() != small.on("pi2", "cat", file).ok()


def test_stopped_nodes_come_back_as_they_were(small):
    small.python("lab", "up", "--nodes", "2").ok()
    before = containers(small)
    small.on("pi1", "touch", "/var/lib/docker/kept")
    for name in before:
        command("docker", "kill", name).ok()
    small.python("lab", "up", "--nodes", "2").ok()
    assert containers(small) == before
    assert ssh(small, "pi1", "sudo", "ls", "/var/lib/docker/kept").code == 0


def test_a_removed_node_returns_blank_and_is_known_by_its_new_key(small):
    small.python("lab", "up", "--nodes", "2").ok()
    small.on("pi2", "touch", "/var/lib/docker/left")
    old_key = small.on("pi2", "cat", "/etc/ssh/ssh_host_ed25519_key.pub").ok()
    command("docker", "rm", "-f", f"{small.name}-pi2").ok()
    small.python("lab", "up", "--nodes", "2").ok()
    assert small.on("pi2", "cat", "/etc/ssh/ssh_host_ed25519_key.pub").ok() != old_key
    assert ssh(small, "pi2", "ls", "/var/lib/docker/left").code != 0
    assert ssh(small, "pi2", "true").code == 0


def test_a_node_that_was_made_but_never_started_is_made_again(small):
    small.python("lab", "up", "--nodes", "2").ok()
    image = command("docker", "inspect", "--format", "{{.Config.Image}}", f"{small.name}-pi2").ok().strip()
    command("docker", "rm", "-f", f"{small.name}-pi2").ok()
    labels = ("--label", f"pishelf.lab={small.name}", "--label", f"pishelf.clone={ROOT}")
    command("docker", "create", "--name", f"{small.name}-pi2", "--network", small.name, *labels, image).ok()
    small.python("lab", "up", "--nodes", "2").ok()
    assert ssh(small, "pi2", "true").code == 0


def test_a_lost_key_is_replaced_on_running_nodes(small):
    (small.folder / "id_ed25519").unlink()
    small.python("lab", "up", "--nodes", "1").ok()
    assert ssh(small, "pi1", "true").code == 0


def test_pyinfra_reads_the_running_lab(small):
    done = small.pyinfra("lab/inventory.py", "debug-inventory")
    done.ok()
    text = done.said
    assert f'"address": "{small.address("pi1")}"' in text
    assert f'"cluster_name": "{small.name}"' in text
    assert "Groups: managers" in text


def test_pyinfra_says_in_one_line_that_no_lab_runs(second):
    second.pyinfra("lab/inventory.py", "debug-inventory").refused(
        f"lab '{second.name}' does not run", "python -m lab up"
    )


def test_two_labs_share_nothing_and_down_removes_only_its_own(small, second, tmp_path):
    before = everything_of_these_tests()
    config = {"DOCKER_CONFIG": str(tmp_path)}
    second.python("lab", "up", "--nodes", "1").ok()
    address = second.address("pi1")
    assert address.rsplit(".", 1)[0] != small.address("pi1").rsplit(".", 1)[0]
    assert ssh(second, "pi1", "true").code == 0
    second.python("lab", "mail").ok()
    assert f"{second.name}-mail" in containers(second)
    for name, leader in ((second.name, address), ("mine", "198.51.100.1")):
        command("docker", "context", "create", name, "--docker", f"host=tcp://{leader}:2376", **config).ok()
    second.python("lab", "down", **config).ok()
    assert everything_of_these_tests() == before
    assert not second.folder.exists()
    contexts = command("docker", "context", "ls", "--format", "{{.Name}}", **config).ok().split()
    assert second.name not in contexts
    assert "mine" in contexts
    assert ssh(small, "pi1", "true").code == 0


def test_without_a_lab_there_is_no_place_for_a_mail_server(second):
    second.python("lab", "mail").refused(f"no lab '{second.name}'", "python -m lab up")
    second.python("lab", "mail", "--read").refused("has no mail server", "python -m lab mail")


def test_the_mail_server_that_was_stopped_comes_back_with_its_password(second):
    second.python("lab", "up", "--nodes", "1").ok()
    second.python("lab", "mail").ok()
    password = (second.folder / "mail" / "password").read_text()
    assert stat.S_IMODE((second.folder / "mail" / "password").stat().st_mode) == 0o600
    command("docker", "kill", f"{second.name}-mail").ok()
    assert 'ca = "mail/ca.pem"' in second.python("lab", "mail").ok()
    assert (second.folder / "mail" / "password").read_text() == password
    assert second.python("lab", "mail", "--read").ok() == ""


def test_a_context_of_the_labs_name_that_leads_elsewhere_stays(second, tmp_path):
    second.python("lab", "up", "--nodes", "1").ok()
    config = {"DOCKER_CONFIG": str(tmp_path)}
    command("docker", "context", "create", second.name, "--docker", "host=tcp://198.51.100.1:2376", **config).ok()
    second.python("lab", "down", **config).ok()
    assert second.name in command("docker", "context", "ls", "--format", "{{.Name}}", **config).ok().split()


@pytest.mark.parametrize("seconds", [0.5, 0.9, 1.5])
def test_up_goes_on_where_a_killed_one_stopped(second, seconds):
    words = [sys.executable, "-m", "lab", "up", "--name", second.name, "--nodes", "1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        time.sleep(seconds)
        first.kill()
    second.python("lab", "up", "--nodes", "1").ok()
    assert ssh(second, "pi1", "true").code == 0


def test_a_python_without_what_the_lab_needs_is_told_which_one_has_it():
    command(sys.executable, "-S", "-m", "lab", "up").refused("has not what the lab needs", "source .venv/bin/activate")


def test_down_where_nothing_is_says_so(second):
    assert "nothing to remove" in second.python("lab", "down").stderr


def test_another_clones_lab_is_refused_and_left_alone(small, tmp_path):
    clone = other_clone(tmp_path / "clone")
    before = everything_of_these_tests()
    for verb in (("up",), ("down",), ("down", "--force")):
        lab_of(clone, *verb, "--name", small.name).refused(str(ROOT), "LAB=other make demo")
    assert everything_of_these_tests() == before
    assert not (clone / ".cluster").exists()


def test_a_lab_whose_clone_is_gone_is_taken_away_with_force_only(second, tmp_path):
    clone = other_clone(tmp_path / "clone")
    lab_of(clone, "up", "--name", second.name, "--nodes", "1").ok()
    shutil.rmtree(clone)
    second.python("lab", "up", "--nodes", "1").refused("that is gone", f"down --name {second.name} --force")
    second.python("lab", "down").refused("--force")
    second.python("lab", "down", "--force").ok()
    assert containers(second) == {}


def test_the_keys_of_a_real_cluster_are_never_taken_for_a_labs(second):
    second.folder.mkdir(parents=True)
    precious = second.folder / "ca-key.pem"
    precious.write_text("precious")
    try:
        second.python("lab", "up", "--nodes", "1").refused("holds the keys of a cluster that is no lab")
        second.python("lab", "down").ok()
        assert precious.read_text() == "precious"
    finally:
        shutil.rmtree(second.folder)


def test_a_network_in_the_way_is_named(second):
    command("docker", "network", "create", second.name).ok()
    try:
        second.python("lab", "up", "--nodes", "1").refused(second.name, "not a lab's")
    finally:
        command("docker", "network", "rm", second.name).ok()


def test_without_an_engine_the_lab_says_so_in_one_line(tmp_path):
    done = command(sys.executable, "-m", "lab", "up", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    done.refused("no engine answers", "make setup")


@pytest.mark.parametrize("name", ["", "Lab", "la b", "../x", "1lab", "x" * 40])
def test_a_name_that_could_not_name_a_folder_is_refused(name):
    command(sys.executable, "-m", "lab", "up", f"--name={name}").refused(f"lab {name!r}")


def test_a_lab_has_at_least_one_node():
    command(sys.executable, "-m", "lab", "up", NODES="0").refused("0 is not in the range")
