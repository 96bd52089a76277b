"""The doctor on virtual Pis: what is broken there by hand, it names."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.commands import PYINFRA, Done, Lab, command, until

PIS = ["pi1", "pi2", "pi3"]
# The kernel of the machine that plays the Pis decides it.
IPVS = Path("/proc/net/ip_vs").exists()
TLS = PurePosixPath("/etc/docker/tls")
FINE = {"ok", "unknown", "not applicable"}

Findings = dict[str, dict[str, dict[str, str]]]


def doctor(lab: Lab, *argv: str, inventory: str = "lab/inventory.py") -> Done:
    return lab.pyinfra(*argv, inventory, "deploys/doctor.py")


def findings(done: Done) -> Findings:
    """By host and check, of a run with `--data format=json`."""
    assert "Traceback" not in done.stderr, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.code == {"ok": 0, "warning": 1, "failure": 2}[report["verdict"]]
    found: Findings = report["hosts"]
    return found


def examined(lab: Lab, *argv: str, inventory: str = "lab/inventory.py") -> Findings:
    return findings(doctor(lab, "--data", "format=json", *argv, inventory=inventory))


def troubles(found: Findings) -> dict[tuple[str, str], str]:
    """The status of what is not fine, but for the routing that this machine's kernel may lack."""
    return {
        (host, check): one["status"]
        for host, checks in found.items()
        for check, one in checks.items()
        if one["status"] not in FINE and (check != "ipvs" or IPVS)
    }


def words(found: Findings, host: str, check: str) -> str:
    one = found[host][check]
    assert one["why"]
    assert one["fix"]
    return f"{one['value']} {one['why']} {one['fix']}"


def state_of(lab: Lab, pi: str) -> str:
    """What the doctor could leave behind on a host: links, files, packages, modules' settings, images, ports."""
    script = (
        "ip -o link | cut -d' ' -f2; find /etc /var/lib/docker/swarm/certificates -newer /proc/1 -type f 2>/dev/null"
        " | xargs -r sha256sum; dpkg-query -W; ss -H -l -t -n | awk '{print $4}' | sort;"
        " docker image ls --all --quiet --no-trunc 2>/dev/null | sort; ls -A /tmp /root /home/pi"
        " | grep -v systemd-private"
    )
    return lab.on(pi, "sh", "-c", script).ok()


def settled(lab: Lab) -> dict[str, str]:
    """The state of all hosts, once it stays: a swarm's own network comes up after the last node has joined."""
    seen: list[dict[str, str]] = []

    def stays() -> bool:
        seen.append({pi: state_of(lab, pi) for pi in PIS})
        return seen[-1] == seen[-2] if len(seen) > 1 else False

    until(stays)
    return seen[-1]


@contextmanager
def put_back(lab: Lab, pi: str, *paths: str) -> Iterator[None]:
    """Whatever becomes of these files of a host, they are afterwards as they were."""
    for path in paths:
        lab.on(pi, "cp", "-p", path, f"{path}.saved").ok()
    try:
        yield
    finally:
        for path in paths:
            lab.on(pi, "mv", f"{path}.saved", path).ok()


def test_before_anything_is_installed_it_says_what_the_hosts_can_do(blank_only: Lab) -> None:
    kept = sorted(blank_only.folder.iterdir())
    found = examined(blank_only)
    assert troubles(found) == {}
    assert found["pi1"]["ipvs"]["status"] == ("ok" if IPVS else "warning")
    for check in ("engine", "certificate", "swarm", "2376/tcp", "registry"):
        assert {found[pi][check]["status"] for pi in ("pi1", "pi2")} == {"not applicable"}
    assert found["pi1"]["vxlan"]["status"] == "ok"
    assert found["pi1"]["2377/tcp"]["value"] == found["pi1"]["4789/udp"]["value"] == "from pi2"
    assert found["pi2"]["under-voltage"]["status"] == "unknown"
    assert sorted(blank_only.folder.iterdir()) == kept


def test_a_healthy_cluster_is_fine_and_stays_as_it_is(swarm: Lab) -> None:
    before = settled(swarm)
    assert troubles(examined(swarm)) == {}
    assert {pi: state_of(swarm, pi) for pi in PIS} == before


@pytest.mark.parametrize("options", [[], ["-y"], ["--dry"]])
def test_the_table_ends_without_a_question_and_with_the_verdict(swarm: Lab, options: list[str]) -> None:
    done = doctor(swarm, *options)
    assert done.code == (0 if IPVS else 1)
    assert "Traceback" not in done.said
    assert "\x1b[" not in done.stdout  # the tests set NO_COLOR
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["check", *PIS]
    assert next(line for line in lines if line.strip().startswith("vxlan ")).count("ok: made, removed") == 3
    assert lines[-1] == ("Overall: fine" if IPVS else "Overall: warnings")
    assert "Disconnecting from hosts" in done.stderr


def test_it_looks_only_at_the_hosts_that_are_meant(swarm: Lab) -> None:
    found = examined(swarm, "--limit", "pi2")
    assert list(found) == ["pi2"]
    assert troubles(found) == {}
    assert found["pi2"]["availability"]["status"] == "unknown"
    done = doctor(swarm, "--limit", "nobody")
    assert done.code == 2
    done.refused("--limit")


def rewrite(lab: Lab, pi: str, path: str, text: str) -> None:
    """Change what is in a file, and not its time, by which the engine's configuration is told to be newer."""
    script = 'touch -r "$1" /tmp/time && printf "%s" "$2" > "$1" && touch -r /tmp/time "$1" && rm /tmp/time'
    lab.on(pi, "sh", "-c", script, "sh", path, text).ok()


@contextmanager
def broken(lab: Lab) -> Iterator[None]:
    """Each host in ways of its own."""
    certificate, key, daemon = TLS / "server-cert.pem", TLS / "server-key.pem", "/etc/docker/daemon.json"
    sources = f"{{ {lab.address('pi1')}, {lab.address('pi3')} }}"
    listen = "import socket, time; s = socket.socket(); s.bind(('', 2375)); s.listen(); time.sleep(600)"
    with put_back(lab, "pi2", f"{certificate}"), put_back(lab, "pi3", f"{key}", daemon):
        try:
            lab.on("pi2", "nft", "add table inet doctortest").ok()
            hook = "{ type filter hook input priority -10; policy accept; }"
            lab.on("pi2", "nft", f"add chain inet doctortest input {hook}").ok()
            lab.on("pi2", "nft", f"add rule inet doctortest input udp dport 4789 ip saddr {sources} drop").ok()
            rewrite(lab, "pi2", f"{certificate}", lab.on("pi1", "cat", f"{certificate}").ok())
            lab.on("pi3", "chmod", "644", f"{key}").ok()
            said = json.loads(lab.on("pi3", "cat", daemon).ok())
            rewrite(lab, "pi3", daemon, json.dumps({**said, "live-restore": True}))
            lab.on("pi3", "apt-mark", "unhold", "docker.io").ok()
            lab.on("pi3", "systemd-run", "--unit=doctortest", "python3", "-c", listen).ok()
            lab.docker("node", "update", "--availability", "drain", "pi3").ok()
            yield
        finally:
            lab.on("pi2", "nft", "delete table inet doctortest")
            lab.on("pi3", "systemctl", "stop", "doctortest")
            lab.on("pi3", "apt-mark", "hold", "docker.io")
            lab.docker("node", "update", "--availability", "active", "pi3")


def test_what_is_broken_is_named_where_it_is_and_nothing_else(swarm: Lab) -> None:
    with broken(swarm):
        done = doctor(swarm, "--data", "format=json")
        table = doctor(swarm)
    found = findings(done)
    assert troubles(found) == {
        ("pi2", "4789/udp"): "failure",
        ("pi2", "certificate"): "failure",
        ("pi3", "private key"): "failure",
        ("pi3", "daemon.json"): "failure",
        ("pi3", "2375/tcp"): "failure",
        ("pi3", "availability"): "warning",
    }
    assert "pi1 → pi2, pi3 → pi2" in words(found, "pi2", "4789/udp")
    assert f"not for {swarm.address('pi2')}, pi2" in words(found, "pi2", "certificate")
    assert "644 root" in words(found, "pi3", "private key")
    assert "live-restore" in words(found, "pi3", "daemon.json")
    assert "docker node update --availability active pi3" in words(found, "pi3", "availability")
    assert found["pi3"]["engine upgrades"]["value"] == "by hand"
    assert table.code == 2
    assert "failure · 4789/udp · pi2: not from pi1, pi3" in table.stdout
    assert table.stdout.endswith("Overall: failures\n")
    assert troubles(examined(swarm)) == {}


def test_an_engine_that_answers_strangers_is_found_out(swarm: Lab) -> None:
    with put_back(swarm, "pi3", "/etc/docker/daemon.json"):
        swarm.on("pi3", "sed", "-i", 's/"tlsverify": true/"tlsverify": false/', "/etc/docker/daemon.json").ok()
        swarm.restart_engine("pi3")
        found = examined(swarm)
    swarm.restart_engine("pi3")
    _wait_for(swarm, "pi3", "ready")
    assert found["pi3"]["2376/tcp"]["status"] == "failure"
    assert "root on this host" in words(found, "pi3", "2376/tcp")
    assert "tcp without tlsverify" in words(found, "pi3", "daemon.json")
    assert troubles(examined(swarm)) == {}


def test_a_stopped_engine_and_its_node_are_told(swarm: Lab) -> None:
    swarm.on("pi2", "systemctl", "stop", "docker.socket", "docker.service").ok()
    try:
        _wait_for(swarm, "pi2", "down")
        found = examined(swarm)
    finally:
        swarm.on("pi2", "systemctl", "start", "docker").ok()
        _wait_for(swarm, "pi2", "ready")
    assert troubles(found) == {("pi2", "engine"): "failure"}
    assert found["pi2"]["swarm"]["status"] == "unknown"
    assert "journalctl -u docker" in words(found, "pi2", "engine")


def _wait_for(lab: Lab, node: str, state: str) -> None:
    deadline = time.monotonic() + 120
    while lab.docker("node", "inspect", node, "--format", "{{.Status.State}}").stdout.strip() != state:
        assert time.monotonic() < deadline, lab.docker("node", "ls").said
        time.sleep(1)


def test_a_pi_that_tells_nothing_of_itself_any_more_is_found(swarm: Lab) -> None:
    unit, last = "pishelf-metrics.service", "/run/pishelf-metrics/host.prom"
    try:
        swarm.on("pi2", "systemctl", "stop", unit).ok()
        swarm.on("pi3", "systemctl", "kill", "--signal=STOP", unit).ok()
        swarm.on("pi3", "touch", "--date=2 minutes ago", last).ok()
        found = examined(swarm)
        assert troubles(found) == {("pi2", "metrics"): "warning", ("pi3", "metrics"): "warning"}
        assert "not running" in words(found, "pi2", "metrics")
        assert re.match(r"1[2-9][0-9] s old .*stands still", words(found, "pi3", "metrics"))
    finally:
        swarm.on("pi3", "systemctl", "kill", "--signal=CONT", unit)
        swarm.on("pi2", "systemctl", "start", unit)
    until(lambda: troubles(examined(swarm)) == {})


def test_an_entry_of_a_node_that_is_no_more_is_found(swarm: Lab) -> None:
    former = swarm.docker("node", "inspect", "pi3", "--format", "{{.ID}}").ok().strip()
    token = swarm.docker("swarm", "join-token", "-q", "worker").ok().strip()
    swarm.on("pi3", "docker", "swarm", "leave").ok()
    swarm.on("pi3", "docker", "swarm", "join", "--token", token, f"{swarm.address('pi1')}:2377").ok()
    deadline = time.monotonic() + 60
    while swarm.docker("node", "inspect", former, "--format", "{{.Status.State}}").ok().strip() != "down":
        assert time.monotonic() < deadline
        time.sleep(1)
    found = examined(swarm)
    assert troubles(found) == {("pi3", "entries"): "warning"}
    assert f"docker node rm --force {former}" in words(found, "pi3", "entries")
    swarm.provision().ok()


def test_hosts_that_do_not_answer_are_named_and_the_others_examined(swarm: Lab, tmp_path: Path) -> None:
    address = f"{swarm.address('pi1').rsplit('.', 1)[0]}.250"
    ghost = f"('pi9', {{**_workers[0][1], 'address': '{address}', 'ssh_hostname': '{address}'}})"
    inventory = swarm.inventory(tmp_path, f"managers = _managers\nworkers = [*_workers, {ghost}]")
    found = findings(doctor(swarm, "--data", "format=json", inventory=inventory))
    assert troubles(found) == {("pi9", "answers"): "failure"}
    assert address in words(found, "pi9", "answers")
    assert {one["status"] for check, one in found["pi9"].items() if check != "answers"} == {"unknown"}
    assert found["pi2"]["4789/udp"]["value"] == "from pi1, pi3"
    alone = doctor(swarm, "--limit", "pi9", inventory=inventory)
    assert alone.code == 2
    assert "failure · answers · pi9: no answer" in alone.stdout


def test_a_user_without_sudo_is_told_from_a_silent_host(swarm: Lab) -> None:
    rule = "/etc/sudoers.d/010_pi-nopasswd"
    with put_back(swarm, "pi2", rule):
        swarm.on("pi2", "rm", rule).ok()
        found = examined(swarm)
    assert found["pi2"]["answers"]["value"] == "not readable"
    assert "sudo wants a password" in words(found, "pi2", "answers")
    assert found["pi1"]["engine"]["status"] == "ok"


def test_a_wrong_inventory_or_format_is_a_failure_and_no_warning(swarm: Lab, tmp_path: Path) -> None:
    done = doctor(swarm, inventory=swarm.inventory(tmp_path, "managers = []\nworkers = _managers + _workers"))
    assert done.code == 2
    done.refused("no manager")
    done = doctor(swarm, "--data", "format=yaml")
    assert done.code == 2
    done.refused("'yaml'", "format=json")


@pytest.mark.parametrize("text", ["managers = [", "import nothing_of_that_name"])
def test_an_inventory_that_cannot_be_read_is_no_warning_also_for_make(tmp_path: Path, text: str) -> None:
    inventory = tmp_path / "inventory.py"
    inventory.write_text(text)
    assert command(PYINFRA, inventory, "deploys/doctor.py").code == 2
    assert command("make", "doctor", f"INVENTORY={inventory}", "READY=1").code != 0


def test_every_node_pulls_from_the_clusters_registry_and_one_that_does_not_trust_it_is_named(images: Lab) -> None:
    before = {pi: state_of(images, pi) for pi in PIS}
    found = examined(images)
    assert {found[pi]["registry"]["value"] for pi in PIS} == {"trusted"}
    assert {pi: state_of(images, pi) for pi in PIS} == before
    trust = f"/etc/docker/certs.d/{images.address('pi1')}:5000/ca.crt"
    with put_back(images, "pi3", trust):
        images.on("pi3", "rm", trust).ok()
        found = examined(images)
    assert troubles(found) == {("pi3", "registry"): "failure"}
    assert "x509" in words(found, "pi3", "registry")


def test_make_doctor_takes_the_inventory_as_make_provision_does() -> None:
    would = command("make", "--dry-run", "doctor", "INVENTORY=lab/inventory.py", "READY=1").ok()
    assert "pyinfra lab/inventory.py deploys/doctor.py" in would
