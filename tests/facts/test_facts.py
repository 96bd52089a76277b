"""Facts on values: what a host printed becomes what is true of it."""

from __future__ import annotations

import contextlib
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from facts.host import Host, platform
from facts.part import Part, command_for
from facts.sections import script, sections
from facts.swarm import Membership, Swarm, SwarmNode
from facts.tls import Tls
from operations.known import PARTS


def printed(command: str) -> list[str]:
    """What a shell prints for a fact's command."""
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_script_answers_each_question_under_its_name() -> None:
    assert sections(printed(script({"one": "echo 1", "two": "echo 2; echo zwei"}))) == {"one": "1", "two": "2\nzwei"}


def test_a_file_without_a_last_newline_does_not_swallow_the_next_section() -> None:
    assert sections(printed(script({"one": "printf x", "two": "echo 2"}))) == {"one": "x", "two": "2"}


def test_a_question_that_fails_gives_an_empty_answer_and_no_noise() -> None:
    assert sections(printed(script({"bad": "cat /nowhere", "good": "echo yes"}))) == {"bad": "", "good": "yes"}


def said(part: type[Part[object]], **answers: str) -> list[str]:
    """What a host prints for one part; questions that are not named answer nothing."""
    return [
        line for name in part.questions for line in (f"=== {part.__name__}.{name}", *answers.get(name, "").splitlines())
    ]


@given(st.lists(st.text()))
def test_sections_take_any_text(lines: list[str]) -> None:
    assert isinstance(sections(lines), dict)


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


def test_parts_that_are_read_together_do_not_see_each_others_answers() -> None:
    found = sections(printed(command_for([Tls, Swarm])))
    assert Tls().of(found).server_certificate == ""
    assert Swarm().of(found) == Swarm().process(printed(Swarm().command()))


def test_a_host_without_certificates_has_empty_ones() -> None:
    state = Tls().process(said(Tls))
    assert (state.server_certificate, state.trusted) == ("", {})


def test_each_registrys_ca_is_read_under_its_address() -> None:
    text = "# /etc/docker/certs.d/a:5000/ca.crt\nA1\nA2\n# /etc/docker/certs.d/b/ca.crt\nB"
    assert Tls().process(said(Tls, trusted=text)).trusted == {"a:5000": "A1\nA2", "b": "B"}


def test_a_manager_is_told_by_its_control() -> None:
    info = {"Swarm": {"NodeID": "abc", "LocalNodeState": "active", "ControlAvailable": True, "Cluster": {"ID": "c"}}}
    state = Swarm().process(said(Swarm, info=json.dumps(info)))
    assert state.membership == Membership("active", "abc", "manager", "c")


def test_a_host_without_an_engine_is_in_no_swarm() -> None:
    state = Swarm().process(said(Swarm))
    assert (state.membership, state.nodes) == (None, {})


@pytest.mark.parametrize("question", ["info", "nodes"])
def test_garbage_is_reported_with_its_first_words(question: str) -> None:
    with pytest.raises(FactProcessError, match="Cannot connect"):
        Swarm().process(said(Swarm, **{question: "Cannot connect to the Docker daemon"}))


def nodes_of(*nodes: dict[str, object]) -> dict[str, SwarmNode]:
    return dict(Swarm().process(said(Swarm, nodes=json.dumps(nodes))).nodes)


def test_a_node_whose_join_was_cut_off_is_read_without_a_name() -> None:
    node = {"ID": "x", "Description": {}, "Spec": {"Role": "worker"}, "Status": {"State": "unknown"}}
    assert nodes_of(node)["x"].hostname == ""


def test_a_manager_without_peers_is_where_it_advertises_to_be() -> None:
    node = {
        "ID": "x",
        "Description": {"Hostname": "pi1"},
        "Spec": {"Role": "manager"},
        "Status": {"State": "ready", "Addr": "0.0.0.0"},  # noqa: S104 - read, not bound
        "ManagerStatus": {"Addr": "198.18.0.11:2377", "Reachability": "reachable", "Leader": True},
    }
    read = nodes_of(node)["x"]
    assert (read.address, read.reachable, read.leads) == ("198.18.0.11", True, True)


@given(st.dictionaries(st.text(), st.text()))
def test_nodes_are_read_with_any_labels(labels: dict[str, str]) -> None:
    node = {
        "ID": "x",
        "Description": {"Hostname": "pi1"},
        "Spec": {"Role": "worker", "Labels": labels},
        "Status": {"State": "ready"},
    }
    assert nodes_of(node)["x"].labels == labels


@given(st.sampled_from(PARTS), st.data())
def test_any_text_is_read_or_refused_as_a_fact_and_never_crashes(part: type[Part[object]], data: st.DataObject) -> None:
    answers = {name: data.draw(st.text()) for name in part.questions}
    with contextlib.suppress(FactProcessError):
        part().process(said(part, **answers))
