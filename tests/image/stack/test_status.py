"""The stack at one glance, and its logs, on values as the Engine API gives them."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest
import requests

from image.cluster import Cluster, Endpoint, Node
from image.errors import UserError
from image.platform import Platform
from image.stack import log_lines, logs, status
from image.stack.log_lines import Line
from image.stack.status import Status, TaskState
from image.stack.watch import Service, Snapshot, Task

WEB = "r/web@sha256:1"
NOW = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC).timestamp()
TEMPLATE = {"ContainerSpec": {"Image": WEB}, "Placement": {}}
SERVICE = {
    "ID": "s1",
    "Spec": {"Name": "shelf_web", "TaskTemplate": TEMPLATE, "Mode": {"Replicated": {"Replicas": 2}}},
}


def node(number: int, availability: str = "active", state: str = "ready") -> dict[str, object]:
    return {
        "ID": f"n{number}",
        "Spec": {"Role": "manager" if number == 1 else "worker", "Availability": availability},
        "Description": {"Hostname": f"pi{number}", "Platform": {"Architecture": "aarch64"}},
        "Status": {"State": state, "Addr": f"198.18.0.1{number}"},
        **({"ManagerStatus": {"Leader": True}} if number == 1 else {}),
    }


def task(name: str, slot: int, state: str, at: int, desired: str = "running", error: str = "") -> dict[str, object]:
    return {
        "ID": name,
        "ServiceID": "s1",
        "NodeID": f"n{slot}",
        "Slot": slot,
        "DesiredState": desired,
        "CreatedAt": f"2026-01-01T00:00:0{at}Z",
        "Status": {"State": state, "Err": error, "Timestamp": f"2026-01-01T00:00:0{at}.123456789Z"},
        "Spec": TEMPLATE,
    }


def of(*tasks: dict[str, object]) -> Status:
    return status.of([SERVICE], tasks, [node(2, "drain"), node(1), {"ID": "n9", **HALF}], {WEB: "v1-abc"}, NOW)


HALF = {"Spec": {"Role": "worker", "Availability": "active"}, "Status": {"State": "unknown"}}


def test_all_is_well_where_each_service_and_each_node_is():
    one, two = task("t1", 1, "running", 1), task("t2", 2, "running", 1)
    ready, down = [node(1), node(2)], [node(1), node(2, state="down")]
    assert status.of([SERVICE], [one, two], ready, {}, NOW).ok
    assert not status.of([SERVICE], [one], ready, {}, NOW).ok
    assert not status.of([SERVICE], [one, two], down, {}, NOW).ok
    assert not status.of([], [], ready, {}, NOW).ok, "nothing is deployed"


@pytest.mark.parametrize(
    ("services", "state", "words"),
    [
        ([], "ready", "the stack is not deployed\n  Try: python -m image --context attic deploy"),
        ([SERVICE], "ready", "not as it should be: web\n  Try: docker --context attic service ps --no-trunc shelf_web"),
        (
            [SERVICE],
            "down",
            "should be: web; not ready: pi2\n  Try: docker .* the power and the network of pi2",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_told_in_a_sentence(services, state, words):
    cluster = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), Path("/nowhere"))
    with pytest.raises(UserError, match=words):
        status.of(services, [], [node(1), node(2, state=state)], {}, NOW).check(cluster)
    both = [task("t1", 1, "running", 1), task("t2", 2, "running", 1)]
    status.of([SERVICE], both, [node(1), node(2)], {}, NOW).check(cluster)


def test_a_node_that_is_away_has_no_tasks_in_either_table():
    """The swarm starts them elsewhere, and cannot see them end."""
    gone = task("t2", 2, "running", 1, desired="shutdown")
    seen = status.of([SERVICE], [task("t1", 1, "running", 1), gone], [node(1), node(2, state="down")], {}, NOW)
    assert [(one.name, one.tasks) for one in seen.nodes] == [("pi1", 1), ("pi2", 0)]
    assert [one.node for one in seen.tasks] == ["pi1"]


def test_a_service_shows_its_count_and_its_images_version():
    (service,) = of(task("t1", 1, "running", 1)).services
    assert (service.name, service.running, service.wanted, service.version) == ("web", 1, 2, "v1-abc")


def test_an_image_that_no_revision_knows_shows_its_digest():
    (service,) = status.of([SERVICE], [], [node(1)], {}, NOW).services
    assert service.version == "web@sha256:1"


def test_each_place_shows_its_newest_task_and_why_the_one_before_ended():
    seen = of(
        task("t2", 2, "starting", 3),
        task("t0", 2, "failed", 2, "shutdown", "task: non-zero exit (1)"),
        task("t1", 1, "running", 1),
    )
    assert seen.tasks == (
        TaskState("web", 1, "pi1", "running", "v1-abc", ""),
        TaskState("web", 2, "pi2", "starting", "v1-abc", "task: non-zero exit (1)"),
    )


def test_a_place_that_was_given_up_shows_nothing():
    assert of(task("t1", 1, "shutdown", 1, "shutdown")).tasks == ()


def test_nodes_show_what_they_are_and_what_they_do():
    half, leader, drained = of(task("t1", 1, "running", 1)).nodes
    assert (leader.name, leader.role, leader.state, leader.tasks) == ("pi1", "leader", "ready", 1)
    assert (drained.name, drained.role, drained.availability, drained.platform) == (
        "pi2",
        "worker",
        "drain",
        "linux/arm64",
    )
    # a node whose join was cut off has said nothing of itself yet
    assert (half.name, half.state, half.platform) == ("n9", "unknown", "unknown")


def test_plain_lines_are_columns():
    assert status.lines(of(task("t1", 1, "running", 1)))[:2] == [
        "SERVICE  RUNNING  VERSION  PORTS  STATE",
        "web      1/2      v1-abc          waiting for tasks",
    ]


PI2 = Node("n2", "pi2", "198.18.0.12", "worker", True, Platform("linux", "arm64"))
SNAPSHOT = Snapshot(
    (Service("s1", "web", "x", "x"), Service("s2", "node_exporter", "x", "x")),
    (Task("t1", "s1", "running", "running", "x", "n2", 3), Task("t2", "s2", "running", "running", "x", "n2")),
    (PI2,),
)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (Line("t1", "n2", "hello  there"), "web.3@pi2 | hello  there"),
        (Line("t2", "n2", ""), "node_exporter@pi2 | "),
        (Line("gone", "n7", "x"), "?@n7 | x"),
    ],
)
def test_a_line_is_told_with_its_task_and_node(line, told):
    assert logs.told(line, SNAPSHOT) == told


def test_a_line_is_read_with_its_details():
    text = "com.docker.swarm.node.id=n2,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1,x=a%2Cb GET / 200"
    assert Line.parse(text) == Line("t1", "n2", "GET / 200")


def test_a_lines_time_is_no_part_of_its_text():
    details = "com.docker.swarm.node.id=n2,com.docker.swarm.task.id=t1"
    text = f"2026-01-01T00:00:01.000000002Z {details} 2026-01-01T00:00:01Z GET"
    assert Line.parse(text) == Line("t1", "n2", "2026-01-01T00:00:01Z GET", "2026-01-01T00:00:01.000000002Z")


def test_the_older_task_of_a_slot_is_told_first_and_the_managers_own_words_last():
    newer, older, manager = Line("t2", "n2", "b", "2026-01-02"), Line("t1", "n1", "a", "2026-01-01"), Line("", "", "c")
    assert list(log_lines.in_order(iter([manager, newer, older]))) == [older, newer, manager]


def test_lines_are_not_kept_back_while_the_manager_waits_for_a_node_that_is_gone(monkeypatch):
    monkeypatch.setattr(log_lines, "_PAUSE", 0.01)
    over = threading.Event()

    def answer():
        yield Line("t1", "n1", "a")
        over.wait(60)
        raise requests.ConnectionError("broke off")

    lines = log_lines.in_order(answer())
    assert next(lines).text == "a"
    over.set()
    with pytest.raises(requests.ConnectionError, match="broke off"):
        next(lines)


@pytest.mark.parametrize(("count", "word"), [(0, "nothing is logged of web\n"), (1, "")])
def test_a_service_that_has_logged_nothing_is_told_so(monkeypatch, capsys, count, word):
    cluster = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), Path("/nowhere"))
    client = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(Endpoint, "client", lambda _: client)
    monkeypatch.setattr(logs.watch, "read", lambda *_: SNAPSHOT)
    monkeypatch.setattr(log_lines, "read", lambda *_: iter([Line("t1", "n2", "x")] * count))
    said: list[str] = []
    logs.show(cluster, "web", False, 5, said.append)
    assert (said, capsys.readouterr().err) == (["web.3@pi2 | x"] * count, word)


@pytest.mark.parametrize("end", ["", "4\r\n\1\0\0\0\r\n0\r\n\r\n"], ids=["between two lines", "within one"])
def test_a_log_that_breaks_off_is_a_manager_that_does_not_answer(end):
    text = "com.docker.swarm.task.id=t1 hello\n"
    frame = f"\1\0\0\0\0\0\0{chr(len(text))}{text}"

    class Manager(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps({"Spec": {"TaskTemplate": {"ContainerSpec": {}}}})
            if logs := "/logs?" in self.path:
                body = f"{len(frame):x}\r\n{frame}\r\n{end}"
            self.send_response(200)
            self.send_header(*(("Transfer-Encoding", "chunked") if logs else ("Content-Length", str(len(body)))))
            self.end_headers()
            self.wfile.write(body.encode())
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Manager) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        client = docker.DockerClient(base_url=f"tcp://127.0.0.1:{server.server_port}", version="1.41")
        lines = log_lines.read(client, "web", 5, follow=True)
        assert next(lines) == Line("t1", "", "hello")
        with pytest.raises(requests.ConnectionError, match="broke off"):
            next(lines)
        server.shutdown()


def test_what_the_manager_says_of_a_node_that_is_away_is_told_with_its_name():
    text = (
        "Error grabbing logs: rpc error: code = Unknown desc = warning: incomplete log stream. node n2 is not available"
    )
    assert logs.told(Line.parse(text), SNAPSHOT) == f"the manager | {text.replace('n2', 'pi2')}"


def test_a_service_is_found_by_its_name_with_or_without_the_stacks():
    assert logs.named(SNAPSHOT, "web") == logs.named(SNAPSHOT, "shelf_web")


def test_an_unknown_service_is_told_with_the_nearest():
    with pytest.raises(UserError, match="no service 'node-exporter'") as seen:
        logs.named(SNAPSHOT, "node-exporter")
    assert "Try: node_exporter of web, node_exporter" in seen.value.message


def test_a_service_that_failed_again_and_again_just_now_has_failed_and_one_that_did_so_before_has_not():
    failures = [task(f"t{at}", 1, "failed", at, "shutdown", "task: non-zero exit (2)") for at in (1, 2, 3)]
    (service,) = of(*failures, task("t4", 1, "running", 4), task("t5", 2, "running", 4)).services
    assert (service.phase, service.detail) == ("failed", "web on pi1: failed: task: non-zero exit (2)")
    tasks = [*failures, task("t4", 1, "running", 4), task("t5", 2, "running", 4)]
    (later,) = status.of([SERVICE], tasks, [node(1), node(2)], {}, NOW + 60).services
    assert (later.phase, later.detail) == ("converged", "")
