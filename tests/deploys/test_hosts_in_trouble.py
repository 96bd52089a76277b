"""One host in trouble: the run names it, says why and how to go on, and the others go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import Done, Lab, command, nothing_proposed

ILL = "pi3"


@contextmanager
def trouble(lab: Lab, cause: str, cure: str) -> Iterator[None]:
    """Make trouble on one host by a shell command, and end it by another."""
    lab.on(ILL, "sh", "-c", cause).ok()
    try:
        yield
    finally:
        lab.on(ILL, "sh", "-c", cure).ok()


def refused(lab: Lab, *words: str, run: Callable[[], Done] | None = None) -> str:
    """The run fails and says these words, and on another host what is missing is made good."""
    lab.on("pi2", "rm", "-rf", "/etc/docker/certs.d").ok()
    said = (run or lab.provision)().refused(f"[{ILL}]", *words)
    assert lab.on("pi2", "ls", "/etc/docker/certs.d").ok().strip() == f"{lab.address('pi1')}:5000"
    return said


def stand_in(program: str, script: str) -> tuple[str, str]:
    """Cause and cure of a program that a shell script stands in for."""
    path = f"/usr/local/sbin/{program}"
    return f"printf '%s\\n' '#!/bin/sh' '{script}' > {path} && chmod +x {path}", f"rm {path}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person's home in which ssh was never used."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


NEW_KEY = "mv /etc/ssh/ssh_host_ed25519_key* /root && systemctl restart ssh"
OLD_KEY = "mv /root/ssh_host_ed25519_key* /etc/ssh && systemctl restart ssh"


def test_a_hosts_key_is_learnt_on_first_contact_and_another_one_refused_by_name(
    swarm: Lab, tmp_path: Path, home: Path
) -> None:
    as_a_person = swarm.inventory(
        tmp_path,
        "def _plain(hosts): return [(name, {key: data[key] for key in data if 'host_key' not in key"
        " and 'known_hosts' not in key}) for name, data in hosts]\n"
        "managers, workers = _plain(_managers), _plain(_workers)",
    )
    swarm.pyinfra("-y", as_a_person, "exec", "--", "true", HOME=str(home)).ok()
    known = home / ".ssh" / "known_hosts"
    assert (known.parent.stat().st_mode & 0o777, known.stat().st_mode & 0o777) == (0o700, 0o600)
    assert sorted(line.split()[0] for line in known.read_text().splitlines()) == sorted(
        swarm.address(pi) for pi in ("pi1", "pi2", "pi3")
    )
    with trouble(swarm, NEW_KEY, OLD_KEY):
        fix = f"ssh-keygen -R {swarm.address(ILL)}"
        refused(swarm, f"`{fix}`", run=lambda: swarm.pyinfra("-y", as_a_person, "deploys/swarm.py", HOME=str(home)))
        command(*fix.split(), "-f", known).ok()  # ssh-keygen asks the system for the home, not the environment
        swarm.pyinfra("-y", as_a_person, "exec", "--", "true", HOME=str(home)).ok()


def test_a_user_without_the_right_to_become_root_is_told_how_to_get_it(swarm: Lab) -> None:
    rights = "/etc/sudoers.d/010_pi-nopasswd"
    with trouble(swarm, f"mv {rights} /root", f"mv /root/010_pi-nopasswd {rights}"):
        refused(swarm, "sudo wants a password", "NOPASSWD")


def test_hosts_of_which_none_lets_us_become_root_are_all_named(swarm: Lab, tmp_path: Path) -> None:
    rights = "/etc/sudoers.d/010_pi-nopasswd"
    alone = swarm.inventory(tmp_path, f"managers = [('{ILL}', {{**_workers[-1][1], 'registry_node': '{ILL}',"
                            f" 'prometheus_node': '{ILL}'}})]")  # fmt: skip
    with trouble(swarm, f"mv {rights} /root", f"mv /root/010_pi-nopasswd {rights}"):
        swarm.pyinfra("-y", alone, "deploys/swarm.py").refused(f"[{ILL}]", "NOPASSWD", "No hosts remaining")


def test_a_host_that_takes_connections_and_is_silent_holds_nobody_up(swarm: Lab) -> None:
    with trouble(swarm, "pkill -STOP -x sshd", "pkill -CONT -x sshd"):
        refused(swarm, "takes connections and then says nothing")


def test_a_command_that_does_not_end_is_given_up(swarm: Lab) -> None:
    with trouble(swarm, *stand_in("answer", "sleep 300")):
        for pi in ("pi1", "pi2"):
            swarm.on(pi, "ln", "-s", "/usr/bin/true", "/usr/local/sbin/answer").ok()
        done = swarm.pyinfra("-y", "lab/inventory.py", "exec", "--data", "_timeout=2", "--", "answer")
        done.refused(f"[{ILL}] did not finish within 2 s")
        for pi in ("pi1", "pi2"):
            swarm.on(pi, "rm", "/usr/local/sbin/answer").ok()
    assert re.search(r"\[pi2\] Success", done.said)


def test_a_full_disk_is_named_and_the_old_file_stays(swarm: Lab) -> None:
    """A small file system of its own stands in for the card."""
    fill = (
        "cp -a /etc/docker /root/docker && mount -t tmpfs -o size=64k none /etc/docker"
        " && cp -a /root/docker/. /etc/docker && echo '{}' > /etc/docker/daemon.json"
        " && { cat /dev/zero > /etc/docker/fill; true; }"
    )
    with trouble(swarm, fill, "umount /etc/docker && rm -r /root/docker"):
        before = swarm.on(ILL, "sh", "-c", "cd /etc/docker && find -type f | sort | xargs sha256sum").ok()
        refused(swarm, "/etc/docker/daemon.json", "was not written and is as it was; 0 of disk is free", "Make room")
        assert swarm.on(ILL, "sh", "-c", "cd /etc/docker && find -type f | sort | xargs sha256sum").ok() == before


def test_a_wrong_clock_is_named_with_its_offset_and_nothing_is_certified(swarm: Lab) -> None:
    """A stand-in for `date` plays the clock: a container cannot have one of its own."""
    cause, cure = stand_in("date", "exec /bin/date --date=2hours +%s.%N")
    with trouble(swarm, f"rm /etc/docker/tls/server-cert.pem; {cause}", cure):
        assert re.search(r"the clock is \+7[12]\d\d s off", refused(swarm, "timedatectl"))
        assert swarm.on(ILL, "test", "-e", "/etc/docker/tls/server-cert.pem").code != 0
    swarm.provision().ok()
    assert swarm.on(ILL, "test", "-e", "/etc/docker/tls/server-cert.pem").code == 0


def test_a_password_in_the_inventory_is_refused_by_name_before_anything_starts(swarm: Lab, tmp_path: Path) -> None:
    text = "managers = _managers\nworkers = _with(_workers, _sudo_password='hunter2')"
    said = swarm.pyinfra("-y", swarm.inventory(tmp_path, text), "deploys/swarm.py").refused("`_sudo_password`")
    assert "hunter2" not in said
    assert "Starting operation" not in said


def test_time_servers_are_asked_as_long_as_the_inventory_names_them(swarm: Lab, tmp_path: Path) -> None:
    servers = "time_servers=['198.18.0.1', 'ntp.example']"
    path = swarm.inventory(tmp_path, f"managers = _with(_managers, {servers})\nworkers = _with(_workers, {servers})")
    conf = "/etc/systemd/timesyncd.conf.d/pishelf.conf"
    swarm.deploy("swarm", inventory=path).ok()
    for pi in ("pi1", "pi2", "pi3"):
        assert swarm.on(pi, "cat", conf).ok() == "[Time]\nNTP=198.18.0.1 ntp.example\n"
    assert nothing_proposed(swarm.dry("swarm", inventory=path))
    swarm.provision().ok()
    assert swarm.on("pi1", "test", "-e", conf).code != 0
