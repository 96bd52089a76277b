"""Facts of the engine and of apt, on what the real programs print."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from facts.apt import Apt, AptState, Download, Downloaded, Offer
from facts.engine import Engine, EngineState
from tests.facts.test_facts import said

# `dpkg-query`'s status: wanted, is, wrong.
LISTED = """\
hi  docker.io 26.1.5+dfsg1-9+deb13u1+b1
ii  docker-cli 26.1.5+dfsg1-9+deb13u1+b1
rc  runc 1.1.15
un  docker-ce"""
RUNNING = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no"


def engine(**answers: str) -> EngineState:
    state = Engine().process(said(Engine, **answers))
    assert isinstance(state, EngineState)
    return state


def test_a_blank_machine_is_read_without_an_engine() -> None:
    state = engine(unit="ActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no")
    assert (state.packages, state.version, state.daemon_json, state.active, state.stale) == ({}, "", None, False, False)


def test_only_packages_that_are_installed_whole_count_and_a_hold_is_seen() -> None:
    state = engine(packages=LISTED)
    version = "26.1.5+dfsg1-9+deb13u1+b1"
    assert state.packages == {"docker.io": version, "docker-cli": version}
    assert (state.source, state.version, state.held) == ("distribution", version, {"docker.io"})
    assert not state.interrupted


@pytest.mark.parametrize("line", ["iF  libc6 2.41", "iU  docker.io 1", "iHR docker.io 1", "it  man-db 2"])
def test_work_that_dpkg_left_undone_is_seen_in_any_package(line: str) -> None:
    assert engine(packages=line).interrupted


def test_the_question_about_packages_lists_ours_and_the_undone_ones_only() -> None:
    lines = [*LISTED.splitlines(), "ii  docker.io-doc 1", "ii  bash 5", "iF  libc6 2", "rc  bash 4", "ii  dockerXio 1"]
    pattern = Engine.questions["packages"].partition("grep -E ")[2]
    seen = subprocess.run(
        ["sh", "-c", f"grep -E {pattern}"], input="\n".join(lines), capture_output=True, text=True, check=True
    ).stdout
    assert seen.splitlines() == [*LISTED.splitlines()[:3], "iF  libc6 2"]


@pytest.mark.parametrize(
    ("answers", "unread"),
    [
        ({"unread": "/etc/docker/daemon.json"}, ("/etc/docker/daemon.json",)),
        ({"program": "/usr/sbin/dockerd (deleted)"}, ("its own program",)),
        ({"unit": RUNNING.replace("Reload=no", "Reload=yes")}, ("docker.service",)),
        ({"program": "/usr/sbin/dockerd"}, ()),
    ],
)
def test_what_a_running_engine_has_not_read_is_named(answers: dict[str, str], unread: tuple[str, ...]) -> None:
    assert engine(**({"unit": RUNNING} | answers)).unread == unread


@pytest.mark.parametrize("text", ["{", "[]", '"words"', "{'hosts': []}", "[" * 100_000])
def test_a_broken_daemon_json_is_named(text: str) -> None:
    state = engine(daemon_json=text)
    assert state.daemon_json is None
    assert "daemon.json" in state.daemon_json_error


@pytest.mark.parametrize(
    ("iptables", "rules", "mixed"),
    [
        ("/usr/sbin/xtables-nft-multi", "-A INPUT -j DROP", True),
        ("/usr/sbin/xtables-nft-multi", "", False),
        ("/usr/sbin/xtables-legacy-multi", "-A INPUT -j DROP", False),
        ("", "", False),
    ],
)
def test_two_kinds_of_iptables_rules_are_seen(iptables: str, rules: str, mixed: bool) -> None:
    assert engine(iptables=iptables, legacy_rules=rules).mixed_iptables is mixed


POLICY = """\
docker.io:
  Installed: (none)
  Candidate: 26.1.5+dfsg1-9+deb13u1+b1
  Version table:
     26.1.5+dfsg1-9+deb13u1+b1 500
        500 http://mirror/debian trixie/main amd64 Packages
     26.1.5+dfsg1-9+deb13u1 500
        500 http://mirror/debian-security trixie-security/main amd64 Packages
docker-ce:
  Installed: (none)
  Candidate: (none)
  Version table:
curl:
  Installed: 8.14.1-2+deb13u6
  Candidate: 8.14.1-2+deb13u7
  Version table:
     8.14.1-2+deb13u7 500
        500 http://mirror/debian trixie/main amd64 Packages
 *** 8.14.1-2+deb13u6 100
        100 /var/lib/dpkg/status"""


def apt(**answers: str) -> AptState:
    state = Apt().process(said(Apt, **({"policy": POLICY, "now": "1000"} | answers)))
    assert isinstance(state, AptState)
    return state


def test_what_apt_offers_is_read_from_its_policy() -> None:
    offers = apt().offers
    assert offers["docker.io"] == Offer(
        "26.1.5+dfsg1-9+deb13u1+b1", ("26.1.5+dfsg1-9+deb13u1+b1", "26.1.5+dfsg1-9+deb13u1")
    )
    assert offers["curl"] == Offer("8.14.1-2+deb13u7", ("8.14.1-2+deb13u7", "8.14.1-2+deb13u6"))
    # One that apt knows by name only, and one that it has never heard of.
    assert offers["docker-ce"] == offers["containerd.io"] == Offer("", ())


@pytest.mark.parametrize(("updated", "age"), [("", float("inf")), ("400", 600), ("400\n900", 100), ("2000", -1000)])
def test_the_age_of_apts_lists_is_that_of_the_latest_trace(updated: str, age: float) -> None:
    assert apt(updated=updated).age == age


@given(st.text(), st.text(), st.text())
def test_any_answer_of_apt_is_read_or_refused_as_a_fact(policy: str, now: str, updated: str) -> None:
    try:
        state = Apt().process(said(Apt, policy=policy, now=now, updated=updated))
    except FactProcessError:
        return
    assert isinstance(state, AptState)


def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    assert Downloaded().process(["error: 404  Not Found", "E: Download Failed"]) == Download(
        "", "404  Not Found\nE: Download Failed"
    )
    assert Downloaded().process(["-----BEGIN", "abc"]) == Download("-----BEGIN\nabc\n", "")
