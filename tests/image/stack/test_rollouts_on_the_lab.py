"""Rolling out, looking, and going back, on the lab; what runs is asked of docker's own command line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from image import cluster
from image.errors import UserError
from image.stack import watch
from tests.commands import ROOT, Lab, until
from tests.image.clone import Clone

SERVICES = ("alertmanager", "gateway", "node_exporter", "prometheus", "web")
IMAGE = "{{.Spec.TaskTemplate.ContainerSpec.Image}}"


def inspect(lab: Lab, service: str, template: str) -> str:
    return lab.docker("service", "inspect", "--format", template, f"shelf_{service}").ok().strip()


def handed(lab: Lab) -> str:
    """The config of what Prometheus and Alertmanager measure of themselves, as Prometheus is handed it."""
    template = "{{range .Spec.TaskTemplate.ContainerSpec.Configs}}{{println .ConfigName}}{{end}}"
    (name,) = (one for one in inspect(lab, "prometheus", template).split() if "prometheus_self" in one)
    return name


def specs(lab: Lab) -> dict[str, object]:
    """What runs, as docker says, but for what counts its updates."""
    found = {}
    for name in SERVICES:
        spec = json.loads(inspect(lab, name, "{{json .Spec}}"))
        found[name] = {**spec, "TaskTemplate": {**spec["TaskTemplate"], "ForceUpdate": 0}}
    return found


def configs(lab: Lab) -> set[str]:
    return set(lab.docker("config", "ls", "--format", "{{.Name}}").ok().split())


def content(lab: Lab, config: str) -> str:
    return lab.docker("config", "inspect", "--format", '{{printf "%s" .Spec.Data}}', config).ok().strip()


def history(lab: Lab) -> list[dict[str, object]]:
    return list(json.loads(lab.image("history", "--json").ok()))


def test_an_unchanged_stack_is_no_new_revision(stack: Lab) -> None:
    stack.image("deploy").ok()  # and waits for what another test did to its tasks
    before = history(stack)
    assert "nothing to do" in stack.image("deploy").ok()
    assert history(stack) == before
    assert before[0]["last"]
    assert before[0]["state"] == "good"


def test_a_rollout_of_another_clone_is_seen_and_taken_back_from_the_swarm_alone(stack: Lab, clone: Clone) -> None:
    before, old, first = specs(stack), handed(stack), history(stack)[0]
    clone.edit("stack/settings.toml", "web_replicas = 2", "web_replicas = 1")
    clone.edit("stack/configs/prometheus_self.yml.tmpl", "scrape_configs:", "# Other words.\nscrape_configs:")
    clone.edit("stack/stack.yml.j2", 'CLUSTER: "', 'OTHER: "yes"\n      CLUSTER: "')
    told = clone.image("diff", "--exit-code")
    assert told.code == 1
    assert {"~ web", "    ~ deploy.replicas: 2 -> 1", "    + environment.OTHER: yes"} <= set(told.stdout.splitlines())
    assert {"~ prometheus"} <= set(told.stdout.splitlines())
    assert specs(stack) == before, "a look has changed something"

    assert "deployed prometheus, web" in clone.image("deploy").ok()
    assert clone.image("diff", "--exit-code").ok().startswith("no difference")
    seen = history(stack)[0]
    assert (seen["number"], seen["state"], seen["changed"]) == (int(str(first["number"])) + 1, "good", ["web"])
    assert seen["files"] == ["configs/prometheus_self.yml.tmpl"]
    new = handed(stack)

    # The swarm has all that the revision needs, also what somebody threw away.
    stack.docker("config", "rm", old).ok()
    assert "deployed prometheus, web" in stack.image("rollback").ok()
    assert specs(stack) == {**before, "prometheus": specs(stack)["prometheus"]}
    assert handed(stack) == old != new
    text = stack.docker("config", "inspect", "--format", '{{printf "%s" .Spec.Data}}', old).ok().rstrip("\n")
    assert text == (ROOT / "stack" / "configs" / "prometheus_self.yml.tmpl").read_text().rstrip("\n")
    last = history(stack)[0]
    assert (last["state"], last["note"]) == ("good", f"rollback to {first['number']}")
    assert stack.image("diff", "--exit-code").ok().startswith("no difference")
    # A revision that is kept needs its config, also while no service does.
    assert new in configs(stack)


def test_what_nothing_needs_any_more_is_forgotten(stack: Lab, clone: Clone) -> None:
    ours = ("--label", "com.docker.stack.namespace=shelf")
    for name in ("shelf_old_0123456789ab", "shelf_of_a_person"):
        stack.docker("config", "create", *ours, name, "README.md").ok()
    clone.edit("stack/settings.toml", "keep_revisions = 10", "keep_revisions = 2")
    try:
        for word in ("one", "two"):
            clone.edit("stack/stack.yml.j2", "x-service:", f"# {word}\nx-service:")
            clone.image("deploy").ok()
        assert "shelf_old_0123456789ab" not in configs(stack)
        assert "shelf_of_a_person" in configs(stack)
        assert len([one for one in history(stack) if one["state"] == "good"]) == 2
        assert "new revision" in clone.image("rollback").ok()
        assert len([one for one in history(stack) if one["state"] == "good"]) == 2
    finally:
        stack.docker("config", "rm", "shelf_of_a_person").ok()


def test_an_image_that_somebody_changed_by_hand_is_seen_and_repaired(stack: Lab) -> None:
    image = inspect(stack, "web", IMAGE)
    by_tag = (
        image.partition("@")[0] + ":" + json.loads(stack.image("status", "--json").stdout)["services"][2]["version"]
    )
    change = ("service", "update", "--detach", "--no-resolve-image", "--image", by_tag, "--replicas", "1")
    stack.docker(*change, "shelf_web").ok()
    (replicas, other) = json.loads(stack.image("diff", "--json").ok())
    assert replicas == {"service": "web", "field": "deploy.replicas", "before": "1", "after": "2"}
    assert other == {"service": "web", "field": "image", "before": by_tag, "after": image}
    stack.image("deploy").ok()
    assert inspect(stack, "web", IMAGE) == image
    assert inspect(stack, "web", "{{.Spec.Mode.Replicated.Replicas}}") == "2"


def test_a_mistake_is_told_with_its_line_and_nothing_is_changed(stack: Lab, clone: Clone) -> None:
    before, past = specs(stack), history(stack)
    clone.edit(
        "stack/stack.yml.j2", "    stop_grace_period: 60s\n", "    stop_grace_period: 60s\n    restart: always\n"
    )
    clone.edit("stack/stack.yml.j2", "memory: {{ prometheus.memory }}", "memory: 512G")
    text = (ROOT / "stack" / "stack.yml.j2").read_text()
    line = text[: text.index("stop_grace_period: 60s")].count("\n") + 2
    clone.image("deploy").refused(f"stack.yml.j2, line {line}: services.prometheus.restart", "512G")
    assert (specs(stack), history(stack)) == (before, past)


def test_a_rollout_that_fails_is_told_and_remembered_as_such(stack: Lab, clone: Clone) -> None:
    clone.edit("stack/stack.yml.j2", "http://127.0.0.1:8080/cgi-bin/cluster", "http://127.0.0.1:1/")
    clone.edit("stack/stack.yml.j2", "      interval: 10s", "      interval: 1s\n      retries: 1")
    clone.image("deploy").refused("web", "rollback", "unhealthy")
    assert history(stack)[0]["state"] == "failed"
    number = next(one["number"] for one in history(stack) if one["state"] == "good")
    stack.image("rollback").ok()
    assert (history(stack)[0]["state"], history(stack)[0]["note"]) == ("good", f"rollback to {number}")


def test_who_rolls_out_beside_another_is_kept_out_and_what_another_changes_is_no_success(
    stack: Lab, clone: Clone
) -> None:
    clone.edit("stack/stack.yml.j2", "      interval: 10s", "      interval: 20s")
    running = clone.begun("deploy")
    until(lambda: history(stack)[0]["state"] == "unfinished")
    first = history(stack)[0]["number"]
    until(lambda: inspect(stack, "web", "{{.Spec.TaskTemplate.ContainerSpec.Healthcheck.Interval}}") == "20s")
    stack.image("deploy").refused(f"began to roll out revision {first}", f"config rm shelf-revision-{first}")
    stack.docker("service", "update", "--detach", "--label-add", "a.persons=own", "shelf_node_exporter").ok()
    clone.ended(running).refused("somebody else has changed node_exporter")
    assert (history(stack)[0]["number"], history(stack)[0]["state"]) == (first, "failed")


def test_a_damaged_revision_is_in_nobodys_way_and_what_it_may_need_is_not_freed(stack: Lab, tmp_path: Path) -> None:
    number = int(str(history(stack)[0]["number"])) + 1
    (tmp_path / "damaged").write_bytes(b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 9)
    labels = (
        "--label",
        "pishelf.stack=shelf",
        "--label",
        f"pishelf.revision={number}",
        "--label",
        "pishelf.state=good",
    )
    stack.docker("config", "create", *labels, f"shelf-revision-{number}", tmp_path / "damaged").ok()
    try:
        assert history(stack)[0]["state"] == "unreadable"
        assert "Traceback" not in stack.image("status").said
        stack.image("gc").refused(f"config rm shelf-revision-{number}")
        assert f"new revision {number + 1}" in stack.image("deploy").ok()
    finally:
        stack.docker("config", "rm", f"shelf-revision-{number}").ok()


def test_a_revision_whose_image_the_registry_lost_is_refused_before_anything_changes(
    stack: Lab, tmp_path: Path
) -> None:
    before, last = specs(stack), history(stack)[0]
    number = int(str(last["number"]))
    data = stack.docker("config", "inspect", "--format", '{{printf "%s" .Spec.Data}}', f"shelf-revision-{number}").ok()
    lost = tmp_path / "lost.json"
    lost.write_text(re.sub(r"busybox@sha256:[0-9a-f]{64}", f"busybox@sha256:{'0' * 64}", data))
    labels = {"stack": "shelf", "revision": str(number + 1), "state": "good"}
    words = [word for key, value in labels.items() for word in ("--label", f"pishelf.{key}={value}")]
    stack.docker("config", "create", *words, f"shelf-revision-{number + 1}", lost).ok()
    try:
        stack.image("rollback", str(number + 1)).refused("no longer has", "busybox@sha256:000")
        stack.image("rollback", "99999").refused("no revision 99999")
        assert specs(stack) == before
    finally:
        stack.docker("config", "rm", f"shelf-revision-{number + 1}").ok()


def test_the_status_agrees_with_docker(stack: Lab) -> None:
    until(lambda: stack.image("status").code == 0)
    status = json.loads(stack.image("status", "--json").ok())
    shown = sorted((task["service"], task["node"]) for task in status["tasks"] if task["state"] == "running")
    listed = stack.docker(
        "stack", "ps", "--filter", "desired-state=running", "--format", "{{.Name}} {{.Node}}", "shelf"
    )
    rows = [line.split() for line in listed.ok().splitlines()]
    assert shown == sorted((name.partition(".")[0].removeprefix("shelf_"), node) for name, node in rows)
    assert {node["name"]: node["state"] for node in status["nodes"]} == {f"pi{number}": "ready" for number in (1, 2, 3)}
    plain = stack.image("status").ok()
    assert all(name in plain for name in SERVICES)


def test_logs_come_with_task_and_node_and_following_ends_at_ctrl_c(stack: Lab) -> None:
    said = stack.image("logs", "prometheus", "--tail", "1").ok().splitlines()
    assert said
    assert all(re.match(r"prometheus\.1@pi\d \| ", line) for line in said)
    stack.image("logs", "node-exporter").refused("'node-exporter'", "node_exporter")
    follow = [sys.executable, "-m", "image", "--context", stack.name, "logs", "--follow", "--tail", "1", "prometheus"]
    with subprocess.Popen(follow, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline().startswith("prometheus.1@")
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (0, "")


class Trial:
    """A stack of one service beside ours, for what must go wrong; its program is busybox."""

    NAME = "trial"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._image = inspect(lab, "web", IMAGE)
        self._swarm = cluster.read(lab.name, lab.folder)
        self._client = self._swarm.endpoint.client()

    def deploy(self, script: str = "sleep 600", **more: object) -> None:
        """Roll it out and watch it; raises UserError as a deploy would."""
        update = {"failure_action": "pause", "monitor": "1s", "order": "start-first"}
        service = {
            "image": self._image,
            "entrypoint": ["/bin/busybox", "sh", "-c"],
            "command": [script],
            "stop_grace_period": "0s",
            "deploy": {"restart_policy": {"delay": "0s"}, "update_config": update},
            **more,
        }
        known = {task.id for task in watch.read(self._client, self.NAME).tasks}
        file = json.dumps({"version": "3.9", "services": {"only": service}})
        options = ("--with-registry-auth", "--resolve-image", "never", "--compose-file", "-")
        subprocess.run(
            ["docker", "stack", "deploy", *options, self.NAME], env={**os.environ, **self._swarm.environment},
            input=file, text=True, check=True, capture_output=True,
        )  # fmt: skip
        watch.watch(self._client, self.NAME, known, 120, lambda _: None)

    def states(self) -> set[str]:
        listed = self._lab.docker("stack", "ps", "--no-trunc", "--format", "{{.CurrentState}}", self.NAME)
        return {line.split()[0] for line in listed.said.splitlines()}

    def close(self) -> None:
        # Again while a task that has just ended still holds the network.
        until(lambda: self._lab.docker("stack", "rm", self.NAME).code == 0)
        network = ("network", "ls", "--quiet", "--filter", f"label=com.docker.stack.namespace={self.NAME}")
        until(lambda: self._lab.docker(*network).ok() == "")
        self._client.close()


@pytest.fixture
def trial(stack: Lab) -> Iterator[Trial]:
    with closing(Trial(stack)) as one:
        yield one


def test_a_task_whose_health_check_fails_never_counts_as_running(trial: Trial) -> None:
    check = {"test": ["CMD", "/bin/busybox", "false"], "interval": "1s", "retries": 1}
    with pytest.raises(UserError, match="unhealthy container") as seen:
        trial.deploy("echo I am not well; sleep 600", healthcheck=check)
    assert "only 0/1 only on pi" in seen.value.message
    assert "log: I am not well" in seen.value.message
    assert "Running" not in trial.states()


def test_a_task_that_a_node_rejects_is_told_with_the_nodes_reason(trial: Trial) -> None:
    with pytest.raises(UserError, match=r"rejected: invalid mount config .* /nowhere"):
        trial.deploy(volumes=["/nowhere:/x"])


def test_an_update_that_pauses_is_told_with_the_failing_tasks_last_words(trial: Trial) -> None:
    trial.deploy()
    with pytest.raises(UserError, match="paused: update paused due to failure") as seen:
        trial.deploy("echo I give up; exit 3")
    assert re.search(r"only on pi\d: failed: task: non-zero exit \(3\)\n +log: I give up", seen.value.message)
