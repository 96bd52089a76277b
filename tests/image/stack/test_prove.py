"""What the proof makes of what it sees, on values and against small servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from image.cluster import Cluster, Endpoint, Node
from image.plan import Description, Image, Starts
from image.platform import Platform
from image.stack.prove import (
    Door,
    Measure,
    Program,
    Proof,
    _certificates,
    addresses,
    door_closed,
    judge_targets,
    nodes_ready,
    pages_answer,
    programs_start,
    targets_up,
)
from image.stack.watch import Service, Snapshot, Task

ARM64, ARMV6 = Platform("linux", "arm64"), Platform("linux", "arm", "v6")
PI1 = Node("n1", "pi1", "198.18.0.11", "manager", True, ARM64)
PI2 = Node("n2", "pi2", "198.18.0.12", "worker", True, ARM64)
PI3 = Node("n3", "pi3", "198.18.0.13", "worker", True, ARM64)
NODES = (PI1, PI2, PI3)
GATEWAY = Service("s1", "gateway", "x", "x", 2, ports=((443, "host"),))
ON_PI2 = Task("t1", "s1", "running", "running", "x", "n2", 1)


@contextmanager
def server(body: str, status: int = 200) -> Iterator[str]:
    """A server on this machine that answers every question alike; gives its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def target(address: str, pool: str = "node", health: str = "up", error: str = "") -> dict[str, str]:
    return {"scrapePool": pool, "health": health, "lastError": error, "scrapeUrl": f"http://{address}/metrics"}


SELF = target("localhost:9090", "prometheus")
NAMES = {"pi1", "pi2"}


def test_a_port_of_the_nodes_own_answers_where_a_task_runs():
    assert addresses(Snapshot((GATEWAY,), (ON_PI2,), NODES), "gateway") == ("https://198.18.0.12",)


def test_a_node_on_which_a_global_service_still_starts_is_one_to_wait_for():
    everywhere = replace(GATEWAY, replicas=None)
    nodes = (PI1, PI2, replace(PI3, ready=False))
    assert addresses(Snapshot((everywhere,), (ON_PI2,), nodes), "gateway") == (
        "https://198.18.0.11",
        "https://198.18.0.12",
    )
    workers = replace(everywhere, constraints=("node.role == worker",))
    assert addresses(Snapshot((workers,), (), NODES), "gateway") == ("https://198.18.0.12", "https://198.18.0.13")


@pytest.mark.parametrize(("of_context", "in_folder"), [(True, True), (False, True), (False, False)])
def test_a_context_without_tls_opens_the_gateway_with_the_clusters_own_certificates(tmp_path, of_context, in_folder):
    tls = tmp_path / "context" if of_context else None
    if in_folder:
        (tmp_path / "cert.pem").write_text("x")
    found = _certificates(Cluster("attic", Endpoint("unix:///var/run/docker.sock", tls), NODES, tmp_path))
    assert found == (tls or (tmp_path if in_folder else None))


def test_a_routed_port_answers_on_every_node():
    routed = replace(GATEWAY, ports=((8000, "ingress"),))
    assert addresses(Snapshot((routed,), (ON_PI2,), NODES), "gateway") == tuple(
        f"https://198.18.0.{last}:8000" for last in (11, 12, 13)
    )


def test_a_service_that_is_not_there_has_no_address():
    assert addresses(Snapshot((), (), NODES), "gateway") == ()


def test_a_node_that_is_away_is_named():
    measure = nodes_ready((PI1, replace(PI2, ready=False), PI3))
    assert not measure.ok
    assert "pi2" in measure.seen
    assert nodes_ready(NODES) == Measure("nodes", True, "3 ready: pi1, pi2, pi3")
    spared = replace(PI2, ready=False, spared=True)
    assert nodes_ready((PI1, spared, PI3)) == Measure("nodes", True, "2 ready: pi1, pi3; pi2 is drained or paused")


def test_one_target_up_a_node_each_with_its_name_is_well():
    targets = [target("10.0.1.2:9100"), target("10.0.1.3:9100"), SELF]
    measure = judge_targets(targets, NAMES, NAMES, "http://pi1:9090")
    assert (measure.ok, measure.seen) == (True, "2 of 2 nodes up, each with its name: pi1, pi2")


@pytest.mark.parametrize(
    ("targets", "measured", "told"),
    [
        ([target("10.0.1.2:9100"), SELF], {"pi1"}, "1 of 2 nodes up; not seen: pi2"),
        (
            [target("10.0.1.2:9100"), target("10.0.1.3:9100", health="down", error="connection refused"), SELF],
            NAMES,
            "1 of 2 nodes up; http://10.0.1.3:9100/metrics is down: connection refused",
        ),
        ([target("10.0.1.2:9100"), target("10.0.1.3:9100"), SELF], {"pi1", ""}, "not seen: pi2"),
        ([target("10.0.1.2:9100"), target("10.0.1.3:9100"), SELF], {"pi1", "pi2", "pi3"}, "and not ready: pi3"),
        (
            [target("a:1", health="unknown"), target("b:1"), SELF],
            NAMES,
            "http://a:1/metrics is unknown: not scraped yet",
        ),
    ],
)
def test_a_target_that_is_missing_down_or_without_a_name_is_told(targets, measured, told):
    measure = judge_targets(targets, measured, NAMES, "http://pi1:9090")
    assert not measure.ok
    assert told in measure.seen


def test_a_page_says_which_node_served_it():
    with server('<meta name="served-by" content="pi2">') as page:
        measure = pages_answer(Door((page,)), NODES, 0)
    assert (measure.ok, measure.seen) == (True, f"{page} by pi2")


@pytest.mark.parametrize(
    ("body", "told"),
    [("<h1>It works!</h1>", "is not our page"), ('<meta name="served-by" content="pi9">', "names 'pi9'")],
)
def test_a_page_that_is_not_ours_is_told_by_its_address(body, told):
    with server(body) as page:
        measure = pages_answer(Door((page,)), NODES, 0)
    assert not measure.ok
    assert page in measure.seen
    assert told in measure.seen


def test_an_address_that_does_not_answer_is_named():
    with server("") as page:
        pass
    assert f"{page} gives no answer" in pages_answer(Door((page,)), NODES, 0).seen


def test_something_else_on_prometheus_port_is_no_prometheus():
    with server("hello") as address:
        measure = targets_up(Door((address,)), NODES, 0)
    assert not measure.ok
    assert f"{address}/prometheus gives no answer" in measure.seen


def test_a_gateway_that_lets_anybody_in_is_told():
    with server("welcome") as address:
        measure = door_closed(Door((address,)), (PI1,), 0)
    assert (measure.ok, measure.seen) == (False, f"{address} answers 200 to whoever asks")


def test_a_gateway_that_asks_who_comes_is_well_if_every_node_has_one():
    with server("who?", status=401) as address:
        assert door_closed(Door((address,)), (PI1,), 0).ok
        measure = door_closed(Door((address,)), NODES, 0)
    assert (measure.ok, measure.seen) == (False, "on 1 of 3 nodes")


def test_nothing_published_is_a_failure_not_a_success():
    assert not door_closed(Door(()), NODES, 0).ok
    assert not pages_answer(Door(()), NODES, 0).ok
    assert not targets_up(Door(()), NODES, 0).ok


def program(name: str, platform: Platform) -> Program:
    about = Description(name, name, "", "", "", Starts(("--version",), "{version}"))
    return Program(Image(Path("/nowhere"), about, "1.0"), platform, f"pi1:5000/{name}@sha256:0")


def test_programs_are_told_by_image():
    started = [(program("registry", ARM64), ""), (program("registry", ARMV6), ""), (program("prometheus", ARM64), "")]
    assert programs_start(started) == (
        Measure("registry", True, "pulled, starts on linux/arm64, linux/arm/v6"),
        Measure("prometheus", True, "pulled, starts on linux/arm64"),
    )


def test_a_program_that_does_not_start_is_told_with_its_platform():
    (measure,) = programs_start([(program("registry", ARM64), ""), (program("registry", ARMV6), "illegal instruction")])
    assert not measure.ok
    assert measure.seen == "linux/arm/v6: illegal instruction"


def test_the_proof_reads_as_a_table_with_advice_addresses_and_commands():
    measures = (Measure("nodes", True, "3 ready"), Measure("the page", False, "is gone", "curl http://pi2"))
    proof = Proof(measures, {"the page": ("http://pi2", "http://pi3"), "Prometheus": ()})
    assert not proof.ok
    lines = proof.lines("docker --context attic")
    assert lines[:3] == ["✓ nodes       3 ready", "✗ the page    is gone", "    Try: curl http://pi2"]
    assert "  the page    http://pi2  http://pi3" in lines
    assert "  Prometheus  nowhere yet" in lines
    assert "  docker --context attic node ls" in lines
