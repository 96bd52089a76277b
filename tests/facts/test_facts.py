"""Facts on values: what a host printed becomes what is true of it."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from facts.engine import Engine
from facts.host import Host, platform
from facts.sections import script, sections
from facts.swarm import Membership, SwarmMembership, SwarmNodes
from facts.tls import Tls


def printed(command: str) -> list[str]:
    """What a shell prints for a fact's command."""
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_script_answers_each_question_under_its_name() -> None:
    assert sections(printed(script(one="echo 1", two="echo 2; echo zwei"))) == {"one": "1", "two": "2\nzwei"}


def test_a_file_without_a_last_newline_does_not_swallow_the_next_section() -> None:
    assert sections(printed(script(one="printf x", two="echo 2"))) == {"one": "x", "two": "2"}


def test_a_question_that_fails_gives_an_empty_answer_and_no_noise() -> None:
    assert sections(printed(script(bad="cat /nowhere", good="echo yes"))) == {"bad": "", "good": "yes"}


@given(st.lists(st.text()))
def test_sections_take_any_text(lines: list[str]) -> None:
    assert isinstance(sections(lines), dict)


def test_a_blank_machine_is_read_without_an_engine() -> None:
    state = Engine().process(
        ["=== packages", "=== interrupted", "=== daemon_json", "=== drop_in", "=== unit",
         "ActiveState=inactive", "UnitFileState=", "NeedDaemonReload=no", "=== stale"]
    )  # fmt: skip
    assert (state.packages, state.daemon_json, state.active, state.stale) == ({}, None, False, False)


def test_only_packages_that_are_installed_whole_count() -> None:
    state = Engine().process(
        ["=== packages", "docker.io 26.1.5 ii ", "docker-cli 26.1.5 iF ", "docker-ce 28 un ", "=== interrupted",
         "docker-cli", "=== daemon_json", "=== drop_in", "=== unit", "=== stale"]
    )  # fmt: skip
    assert state.packages == {"docker.io": "26.1.5"}
    assert state.interrupted


@pytest.mark.parametrize("text", ["{", "[]", '"words"', "{'hosts': []}"])
def test_a_broken_daemon_json_is_named(text: str) -> None:
    state = Engine().process(
        ["=== packages", "=== interrupted", "=== daemon_json", text, "=== drop_in", "=== unit", "=== stale"]
    )
    assert state is not None
    assert state.daemon_json is None
    assert "daemon.json" in state.daemon_json_error


def test_the_facts_of_a_host_can_be_read_on_this_machine() -> None:
    state = Host().process(printed(Host().command()))
    assert abs(state.clock.offset) < 5
    assert state.architecture in ("amd64", "arm64", "armhf", "armel")


@pytest.mark.parametrize(
    ("architecture", "machine", "expected"),
    [
        ("arm64", "aarch64", "linux/arm64"),
        ("armhf", "aarch64", "linux/arm/v7"),
        ("armhf", "armv6l", "linux/arm/v6"),
        ("amd64", "x86_64", "linux/amd64"),
    ],
)
def test_a_hosts_platform_follows_its_programs(architecture: str, machine: str, expected: str) -> None:
    assert platform(architecture, machine) == expected


def test_a_host_without_certificates_has_empty_ones() -> None:
    assert Tls().process([]).server_certificate == ""


def test_a_manager_is_told_by_its_control() -> None:
    line = '{"NodeID":"abc","LocalNodeState":"active","ControlAvailable":true}'
    assert SwarmMembership().process([line]) == Membership("active", "abc", "manager")


def test_a_host_without_an_engine_is_in_no_swarm() -> None:
    assert SwarmMembership().process([]) is None


def test_garbage_is_reported_with_its_first_words() -> None:
    with pytest.raises(FactProcessError, match="Cannot connect"):
        SwarmMembership().process(["Cannot connect to the Docker daemon"])
    with pytest.raises(FactProcessError, match="Cannot connect"):
        SwarmNodes().process(["Cannot connect to the Docker daemon"])


def test_a_node_whose_join_was_cut_off_is_read_without_a_name() -> None:
    node = {"ID": "x", "Description": {}, "Spec": {"Role": "worker"}, "Status": {"State": "unknown"}}
    assert SwarmNodes().process([json.dumps(node)])["x"].hostname == ""


@given(st.dictionaries(st.text(), st.text()))
def test_nodes_are_read_or_refused_and_never_crash(labels: dict[str, str]) -> None:
    node = {
        "ID": "x",
        "Description": {"Hostname": "pi1"},
        "Spec": {"Role": "worker", "Labels": labels},
        "Status": {"State": "ready"},
    }
    assert SwarmNodes().process([json.dumps(node)])["x"].labels == labels


@given(st.text())
def test_any_other_text_is_refused_as_a_fact(text: str) -> None:
    for fact in (SwarmNodes(), Engine(), Host()):
        try:
            fact.process([text])
        except FactProcessError:
            continue
        assert isinstance(fact, SwarmNodes)
        assert not text
