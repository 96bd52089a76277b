"""The stack as its owner meets it: pages and Prometheus' answers, fetched over the network."""

from __future__ import annotations

import json
import time

import pytest

from tests.commands import Lab, until

PIS = ("pi1", "pi2", "pi3")


def nodes_of(lab: Lab, service: str) -> list[str]:
    """Where a service's tasks run, as docker says."""
    listed = lab.docker(
        "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", f"shelf_{service}"
    )
    return listed.ok().split()


def test_node_exporter_is_everywhere_and_the_page_on_two_workers(stack: Lab) -> None:
    assert sorted(nodes_of(stack, "node_exporter")) == sorted(PIS)
    assert sorted(nodes_of(stack, "web")) == ["pi2", "pi3"]
    assert nodes_of(stack, "prometheus") == ["pi2"]


def test_prometheus_finds_every_node_and_every_series_carries_its_nodes_name(stack: Lab) -> None:
    until(lambda: len([one for one in stack.query('up{job="node"}') if one["value"][1] == "1"]) == 3, 90)
    named = until(lambda: stack.query("count by (node) (node_uname_info)"))
    assert sorted(one["metric"]["node"] for one in named) == sorted(PIS)
    # `up` and `scrape_…` are Prometheus' own words about a target, of which DNS says the address alone; an alert may
    # be about a service, or about nothing, as the watchdog is.
    assert stack.query('count by (__name__) ({__name__=~".+", __name__!~"up|scrape_.+|ALERTS.*", node=""})') == []


def test_the_measured_node_is_the_host_and_not_the_container(stack: Lab) -> None:
    (memory,) = until(lambda: stack.query('max by (node) (node_memory_MemTotal_bytes{node="pi3"})'))
    kilobytes = int(stack.on("pi3", "sh", "-c", "awk '/MemTotal/ {print $2}' /proc/meminfo").ok())
    assert int(float(memory["value"][1])) == kilobytes * 1024


@pytest.mark.parametrize("pi", PIS)
def test_each_address_leads_to_the_page_of_a_pi_that_serves_it(stack: Lab, pi: str) -> None:
    page = stack.fetched(pi)
    assert any(f'name="served-by" content="{server}"' in page for server in ("pi2", "pi3"))
    assert stack.name in page


def test_prometheus_has_its_web_interface(stack: Lab) -> None:
    page = stack.fetched("pi3", "/prometheus/query")
    assert "<title>Prometheus" in page
    script = page.partition('src="')[2].partition('"')[0].removeprefix("/prometheus").lstrip("./")
    assert len(stack.fetched("pi3", f"/prometheus/{script}")) > 100_000


def test_prometheus_data_outlives_a_restart(stack: Lab) -> None:
    until(lambda: stack.query("node_load1"))
    at = time.time()
    container = stack.on("pi2", "docker", "ps", "-q", "--filter", "name=shelf_prometheus").ok().strip()
    stack.on("pi2", "docker", "kill", container).ok()
    until(
        lambda: (
            stack.on("pi2", "docker", "ps", "-q", "--filter", "name=shelf_prometheus").ok().strip()
            not in ("", container)
        ),
        90,
    )
    until(lambda: stack.query("node_load1", at), 90)


def test_a_second_deploy_has_nothing_to_do(stack: Lab) -> None:
    stack.image("deploy").ok()
    assert "nothing to do" in stack.image("deploy").ok()


def test_what_somebody_changed_by_hand_is_repaired(stack: Lab) -> None:
    stack.docker("service", "rm", "shelf_web").ok()
    stack.docker("service", "update", "--detach", "--env-add", "STRANGER=1", "shelf_node_exporter").ok()
    stack.image("deploy").ok()
    assert sorted(nodes_of(stack, "web")) == ["pi2", "pi3"]
    environment = stack.docker(
        "service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "shelf_node_exporter"
    )
    assert "STRANGER" not in environment.ok()


def test_the_proof_holds_and_is_also_there_for_programs(stack: Lab) -> None:
    stack.image("deploy").ok()
    proof = json.loads(stack.image("prove", "--json").ok())
    assert proof
    assert "✗" not in stack.image("prove").ok()


def test_the_proof_fails_where_a_node_is_away(stack: Lab) -> None:
    stack.on("pi3", "systemctl", "stop", "docker.socket", "docker.service").ok()
    try:
        until(lambda: "Down" in stack.docker("node", "ls", "--filter", "name=pi3").said, 90)
        stack.image("prove").refused("pi3")
    finally:
        stack.on("pi3", "systemctl", "start", "docker.service").ok()
        until(lambda: "Ready" in stack.docker("node", "ls", "--filter", "name=pi3").said, 90)
    stack.image("deploy").ok()


def test_rendering_asks_for_no_address_and_gives_references_by_digest(stack: Lab) -> None:
    compose = stack.image("render").ok()
    assert compose.count("@sha256:") == compose.count("\n    image: ")
    assert [line.split("published: ")[1] for line in compose.splitlines() if "published: " in line] == [
        "443, protocol: tcp, mode: host}"
    ]
