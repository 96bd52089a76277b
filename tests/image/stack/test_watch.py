"""The watcher's verdicts, on values as the Engine API gives them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paramiko import SSHException

from image.cluster import Node
from image.platform import Platform
from image.stack import watch
from image.stack.watch import Progress, Service, Snapshot, Task, converged, eligible, judge

ARM64 = Platform("linux", "arm64")
PI1 = Node("n1", "pi1", "198.18.0.11", "manager", True, ARM64, {"prometheus": "true"})
PI2 = Node("n2", "pi2", "198.18.0.12", "worker", True, ARM64)
PI3 = Node("n3", "pi3", "198.18.0.13", "worker", True, ARM64)
NODES = (PI1, PI2, PI3)

WEB = Service("s1", "web", spec="new", template="new", replicas=2, constraints=("node.role == worker",))
EXPORTER = Service("s2", "node_exporter", spec="new", template="new", replicas=None)


def running(service: Service, node: Node, task: str = "", template: str = "new") -> Task:
    slot = 0 if service.replicas is None else int(node.id[1:])
    return Task(task or f"{service.name}-{node.name}", service.id, "running", "running", template, node.id, slot)


def one(service: Service, *tasks: Task, nodes: tuple[Node, ...] = NODES, known: tuple[str, ...] = ()) -> Progress:
    (progress,) = judge(Snapshot((service,), tasks, nodes), known)
    return progress


def test_a_service_with_all_its_replicas_has_converged():
    assert one(WEB, running(WEB, PI2), running(WEB, PI3)) == Progress("web", "converged", 2, 2)


def test_a_service_short_of_a_replica_says_what_the_missing_one_does_and_where():
    coming = replace(running(WEB, PI3), state="preparing")
    assert one(WEB, running(WEB, PI2), coming) == Progress("web", "waiting", 1, 2, "preparing on pi3")


def test_tasks_of_the_old_specification_do_not_count():
    tasks = running(WEB, PI2, template="old"), running(WEB, PI3, template="old")
    assert one(WEB, *tasks).phase == "waiting"


def test_an_old_task_that_still_runs_beside_the_new_ones_holds_the_verdict_back():
    old = running(WEB, PI1, "left over", template="old")
    assert one(WEB, running(WEB, PI2), running(WEB, PI3), old).phase == "waiting"


def test_an_old_task_on_a_node_that_is_away_does_not():
    away = replace(PI1, ready=False)
    old = running(WEB, PI1, "left over", template="old")
    assert one(WEB, running(WEB, PI2), running(WEB, PI3), old, nodes=(away, PI2, PI3)).phase == "converged"


def test_an_update_that_is_not_done_holds_the_verdict_back_although_all_run():
    updating = replace(WEB, update="updating")
    assert one(updating, running(WEB, PI2), running(WEB, PI3)).phase == "waiting"


@pytest.mark.parametrize("state", ["paused", "rollback_started", "rollback_paused", "rollback_completed"])
def test_a_service_that_paused_or_rolled_back_has_failed_although_all_run(state):
    back = replace(WEB, update=state, update_message="update rolled back due to failure of task x")
    seen = one(back, running(WEB, PI2), running(WEB, PI3))
    assert seen.phase == "failed"
    assert "failure of task x" in seen.detail


def test_a_global_service_wants_one_task_on_each_ready_node():
    seen = one(EXPORTER, running(EXPORTER, PI1), nodes=(PI1, PI2, replace(PI3, ready=False)))
    assert (seen.phase, seen.running, seen.wanted) == ("waiting", 1, 2)


def test_one_failure_is_forgiven():
    failed = replace(running(WEB, PI2, "first"), state="failed", desired="shutdown", error="task: non-zero exit (1)")
    seen = one(WEB, failed, running(WEB, PI2), running(WEB, PI3))
    assert seen.phase == "converged"
    assert seen.failures == ("web on pi2: failed: task: non-zero exit (1)",)


def _thrice(template: str) -> list[Task]:
    lost = replace(running(WEB, PI2), state="rejected", desired="shutdown", error="No such image", template=template)
    return [replace(lost, id=f"try {count}") for count in range(3)]


def test_the_third_failure_in_one_place_is_a_verdict_with_node_state_and_error():
    seen = one(WEB, *_thrice("new"), running(WEB, PI3))
    assert (seen.phase, seen.detail) == ("failed", "web on pi2: rejected: No such image")


def test_failures_in_different_places_are_not_added_up():
    lost = [replace(task, slot=slot) for slot, task in enumerate(_thrice("new"), 1)]
    assert one(WEB, *lost, running(WEB, PI3)).phase == "waiting"


def test_failures_before_the_deploy_are_history():
    assert one(WEB, *_thrice("new"), running(WEB, PI3), known=("try 0", "try 1", "try 2")).phase == "waiting"


def test_failures_of_the_old_specification_do_not_condemn_the_new_one():
    seen = one(WEB, *_thrice("old"), running(WEB, PI2), running(WEB, PI3))
    assert seen.phase == "converged"


def test_a_task_for_which_no_node_is_found_shows_the_swarms_reason():
    pending = Task("t", WEB.id, "pending", "running", "new", "", 1, "no suitable node (2 nodes not available)")
    assert one(WEB, pending).detail == "pending (no suitable node (2 nodes not available))"


def test_a_task_on_a_node_that_the_constraints_now_exclude_does_not_count():
    assert one(WEB, running(WEB, PI1), running(WEB, PI2)).running == 1


def test_a_stack_without_services_has_not_converged():
    assert not converged(())


@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        ("node.role == worker", ["pi2", "pi3"]),
        ("node.role==WORKER", ["pi2", "pi3"]),
        ("node.role != worker", ["pi1"]),
        ("node.labels.prometheus == true", ["pi1"]),
        ("node.labels.prometheus != true", ["pi2", "pi3"]),
        ("node.hostname == pi3", ["pi3"]),
        ("node.id != n3", ["pi1", "pi2"]),
        ("engine.labels.disk == ssd", ["pi1", "pi2", "pi3"]),
    ],
)
def test_constraints_choose_nodes_as_the_swarm_does(constraint, names):
    chosen = eligible(NODES, replace(EXPORTER, constraints=(constraint,)))
    assert [node.name for node in chosen] == names


def test_services_and_tasks_read_as_the_engine_api_gives_them():
    template = {
        "ContainerSpec": {"Image": "r/web@sha256:1"},
        "Placement": {"Constraints": ["node.role == worker"], "MaxReplicas": 1},
        "ForceUpdate": 0,
        "Runtime": "container",
    }
    service = Service.of(
        {
            "ID": "s1",
            "Spec": {
                "Name": "shelf_web",
                "Mode": {"Replicated": {"Replicas": 2}},
                "TaskTemplate": template,
                "EndpointSpec": {
                    "Mode": "dnsrr",
                    "Ports": [{"TargetPort": 8080, "PublishedPort": 80, "PublishMode": "host"}],
                },
            },
            "UpdateStatus": {"State": "completed", "Message": "update completed"},
        },
        "shelf",
    )
    task = Task.of(
        {
            "ID": "t1",
            "ServiceID": "s1",
            "NodeID": "n2",
            "Slot": 1,
            "DesiredState": "running",
            "Status": {"State": "running", "ContainerStatus": {}},
            "Spec": {
                "ContainerSpec": template["ContainerSpec"],
                "Placement": {"Constraints": ["node.role == manager"]},
                "ForceUpdate": 0,
            },
        }
    )
    assert (service.name, service.replicas, service.ports) == ("web", 2, ((80, "host"),))
    # where it may run is no part of what it runs
    assert task.template == service.template
    assert one(service, task).running == 1


def test_a_node_that_does_not_say_what_its_tasks_logged_holds_no_verdict_back(monkeypatch):
    """A manager's answer stays open while it waits for a node without power."""
    silent = threading.Event()

    def service_logs(*_: object, **__: object) -> Iterator[bytes]:
        yield b"com.docker.swarm.task.id=t1 I give up\n"
        silent.wait(60)

    monkeypatch.setattr(watch, "_LISTEN", 0.2)
    client = SimpleNamespace(api=SimpleNamespace(service_logs=service_logs))
    begun = time.monotonic()
    assert watch._last_words(client, "shelf_web") == {"t1": ["I give up"]}
    assert time.monotonic() - begun < 30
    silent.set()


def test_a_line_of_ssh_that_breaks_off_leaves_a_verdict_without_last_words():
    """A traceback of the listener would fail the test."""

    def service_logs(*_: object, **__: object) -> Iterator[bytes]:
        raise SSHException("SSH session not active")

    client = SimpleNamespace(api=SimpleNamespace(service_logs=service_logs))
    assert watch._last_words(client, "shelf_web") == {}


states = st.sampled_from(["new", "pending", "preparing", "starting", "running", "failed", "rejected", "shutdown"])
tasks = st.builds(
    Task,
    id=st.text("abc", min_size=1, max_size=3),
    service=st.sampled_from([WEB.id, EXPORTER.id]),
    state=states,
    desired=st.sampled_from(["running", "shutdown", "ready"]),
    template=st.sampled_from(["new", "old"]),
    node=st.sampled_from(["", "n1", "n2", "n3", "gone"]),
    slot=st.integers(0, 3),
    error=st.text(max_size=5),
)


@given(st.lists(tasks, max_size=12))
def test_every_mix_of_tasks_gets_a_verdict_and_none_converges_short_of_tasks(mix):
    for progress in judge(Snapshot((WEB, EXPORTER), tuple(mix), NODES)):
        assert progress.phase in ("waiting", "converged", "failed")
        assert progress.phase != "converged" or progress.running >= progress.wanted
        assert str(progress).startswith(progress.name)
