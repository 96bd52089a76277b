from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from bench.cpu import counter, seconds
from bench.endstate import lacking
from bench.machine import processor
from bench.site import Site
from bench.ways import FLOOR, MITOGEN, OURS, PLAIN
from lab.lifecycle import Status
from lab.spec import Lab
from pki.authority import Authority, Identities
from tests.commands import ROOT, command

LEGACY = "9:name=systemd:/docker/1f/init.scope\n2:cpuacct:/docker/1f\n1:cpu:/docker/1f\n0::/docker/1f/init.scope\n"
UNIFIED = "0::/system.slice/docker-1f.scope/init.scope\n"
SITE = Site(
    Lab("bench", Path("/clone")),
    (Status("pi1", "bench-pi1", "198.18.1.11", "running"), Status("pi2", "bench-pi2", "198.18.1.12", "running")),
    Path("/tmp/work"),  # noqa: S108 - nothing is written
)


def test_a_nodes_time_is_counted_in_its_own_group_and_not_in_one_below() -> None:
    assert str(counter(LEGACY)) == "cpuacct/docker/1f/cpuacct.usage"
    assert str(counter("4:cpu,cpuacct:/docker/1f/init.scope\n0::/\n")) == "cpuacct/docker/1f/cpuacct.usage"
    assert str(counter(UNIFIED)) == "system.slice/docker-1f.scope/cpu.stat"


def test_both_counters_give_seconds() -> None:
    assert seconds("cpuacct.usage", "1500000000\n") == 1.5
    assert seconds("cpu.stat", "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n") == 1.5


def test_programs_that_outlive_their_parent_are_ended_and_counted() -> None:
    script = (
        "import time; from bench import cpu; from image.run import run; cpu.adopt_orphans();"
        " run('sh', '-c', 'sh -c \"while :; do :; done\" >/dev/null 2>&1 & sleep 1');"
        " early = cpu.of_children(); cpu.end_orphans(); print(early < 0.2 < cpu.of_children())"
    )
    assert command(sys.executable, "-c", script, timeout=60).ok() == "True\n"


def test_what_a_node_lacks_is_named() -> None:
    assert lacking("the name: yes\na firewall: no\ntrust in 1.2.3.4:5000: no\n") == [
        "a firewall",
        "trust in 1.2.3.4:5000",
    ]
    assert lacking("the name: yes\n") == []


def test_a_node_that_does_not_answer_lacks_something() -> None:
    assert lacking("") == ["an answer"]


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [("processor\t: 0\nmodel name\t: Fast One\n", "Fast One"), ("Model\t\t: Raspberry Pi 5\n", "Raspberry Pi 5")],
)
def test_a_processor_has_a_name(cpuinfo: str, name: str) -> None:
    assert processor(cpuinfo) == name


def test_pyinfra_gets_an_inventory_of_the_nodes_in_play() -> None:
    groups: dict[str, list[tuple[str, dict[str, str]]]] = {}
    exec(OURS.files(SITE.first(1))["inventory.py"], groups)  # noqa: S102 - as pyinfra does
    assert [name for name, _ in groups["managers"]] == ["pi1"]
    assert groups["workers"] == []
    assert groups["managers"][0][1]["address"] == "198.18.1.11"


def test_both_ansibles_play_the_same_playbook_for_the_same_hosts() -> None:
    assert PLAIN.command("cold", SITE).argv == MITOGEN.command("join", SITE).argv
    assert PLAIN.files(SITE) == MITOGEN.files(SITE)
    assert set(MITOGEN.command("cold", SITE).env) - set(PLAIN.command("cold", SITE).env) == {
        "ANSIBLE_STRATEGY",
        "ANSIBLE_STRATEGY_PLUGINS",
    }
    assert PLAIN.files(SITE)["inventory.ini"].startswith(
        "[managers]\npi1 ansible_host=198.18.1.11\n[workers]\npi2 ansible_host=198.18.1.12\n"
    )


def test_the_floor_is_given_its_scenario_and_its_nodes() -> None:
    assert FLOOR.command("join", SITE).argv[-4:] == ("join", "/tmp/work", "pi1=198.18.1.11", "pi2=198.18.1.12")  # noqa: S108


@pytest.mark.parametrize("script", sorted((ROOT / "bench").rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_parses(script: Path) -> None:
    command("bash", "-n", script).ok()


def test_the_certificate_that_openssl_signs_is_one_that_the_project_would_keep(tmp_path: Path) -> None:
    payload = ROOT / "bench" / "payload"
    command("sh", payload / "authority.sh", tmp_path).ok()
    request = command("openssl", "req", "-new", "-key", tmp_path / "key.pem", "-subj", "/CN=engine").ok()
    sign = ("sh", payload / "sign.sh", tmp_path, "pi1", "198.18.1.11")
    signed = subprocess.run(sign, input=request, capture_output=True, text=True, check=True).stdout
    identities = Identities(("pi1", "pi1.local", "localhost"), ("198.18.1.11", "127.0.0.1"))
    authority = Authority.load(tmp_path)
    assert not authority.objection(x509.load_pem_x509_certificate(signed.encode()), "server", identities)
    client = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    assert not authority.objection(client, "client")
