"""What the stack's files promise each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from image import plan, settings
from image.cluster import Cluster, Endpoint, Node
from image.platform import Platform
from image.stack import template

ROOT = Path(__file__).resolve().parents[2]
SELF = (ROOT / "stack" / "configs" / "prometheus_self.yml.tmpl").read_text()
PI1 = Node("n1", "pi1", "198.18.0.11", "manager", True, Platform("linux", "arm64"), {"prometheus": "true"})
CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (PI1,), Path("/nowhere"))
IMAGES = {one.name: f"pi1:5000/{one.name}@sha256:0" for one in plan.read()}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(template.render(template.variables(CLUSTER, IMAGES, settings.read())))


@pytest.fixture(scope="module")
def prometheus():
    values = template.variables(CLUSTER, IMAGES, settings.read())
    (config,) = (config for config in values["configs"] if config.key == "prometheus")
    return yaml.safe_load(config.data)


def test_prometheus_discovers_a_service_that_the_stack_has(compose, prometheus):
    for job in prometheus["scrape_configs"]:
        (discovery,) = job["dns_sd_configs"]
        assert {name.removeprefix("tasks.") for name in discovery["names"]} <= set(compose["services"])
        assert discovery["type"] == "A"


def test_prometheus_reads_the_configs_that_the_stack_hands_it(compose, prometheus):
    handed = {Path(one["target"]): one["source"] for one in compose["services"]["prometheus"]["configs"]}
    folder = Path("/etc/prometheus")
    patterns = [*prometheus["scrape_config_files"], *prometheus["rule_files"], "prometheus.yml"]
    assert len(handed) == len(patterns)
    for pattern in patterns:
        assert any(path.match(str(folder / pattern)) for path in handed), pattern
    # Prometheus' own braces are not the swarm's to fill in
    assert [key for key, one in compose["configs"].items() if "template_driver" in one] == ["prometheus_self"]


def test_prometheus_tells_the_alertmanager_of_the_stack_where_it_answers(compose, prometheus):
    (told,) = prometheus["alerting"]["alertmanagers"]
    (static,) = told["static_configs"]
    assert static["targets"] == ["tasks.alertmanager:9093"]
    assert f"--web.route-prefix={told['path_prefix']}" in compose["services"]["alertmanager"]["command"]
    assert prometheus["global"]["external_labels"] == {"cluster": "attic"}


def test_what_prometheus_and_alertmanager_say_of_themselves_carries_the_nodes_name_too(compose):
    jobs = yaml.safe_load(SELF)["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["prometheus", "alertmanager"]
    for job in jobs:
        (static,) = job["static_configs"]
        assert static["labels"] == {"node": '{{ env "NODE" }}'}
        assert f"--web.route-prefix=/{job['job_name']}/" in compose["services"][job["job_name"]]["command"]
        assert job["metrics_path"] == f"/{job['job_name']}/metrics"
    assert compose["services"]["prometheus"]["environment"]["NODE"] == "{{.Node.Hostname}}"
    # one name for both is true as long as they cannot be apart
    placed = [compose["services"][name]["deploy"]["placement"] for name in ("prometheus", "alertmanager")]
    assert placed[0] == placed[1]


def test_every_config_in_the_folder_is_used(compose):
    handed = {one["source"] for service in compose["services"].values() for one in service.get("configs", ())}
    assert handed == set(compose["configs"])


def test_every_service_is_bounded_in_memory_and_logs_and_has_no_capabilities(compose):
    for name, service in compose["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"], name
        assert 0 < float(limits["cpus"]) <= 1, f"{name}: the engine of a Pi with one processor refuses more"
        assert service["logging"]["options"]["max-size"], name
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name


def test_a_failed_update_goes_back_and_the_old_task_makes_room_first(compose):
    for name, service in compose["services"].items():
        update = service["deploy"]["update_config"]
        assert (update["failure_action"], update["order"]) == ("rollback", "stop-first"), name


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_measurements_and_silences_outlive_a_restart(compose, name):
    assert {"type": "volume", "source": name, "target": f"/{name}"} in compose["services"][name]["volumes"]
    assert name in compose["volumes"]


@pytest.mark.parametrize("path", ["/", "/var/lib/docker", "/var/lib/containerd", "/mnt/ssd", "/running"])
def test_a_disk_is_watched_wherever_it_is_mounted(compose, path):
    assert not _not_watched(compose).search(path)


@pytest.mark.parametrize("path", ["/dev/hugepages", "/proc", "/sys", "/run/lock", "/var/lib/docker/overlay2/0a1b"])
def test_what_is_no_disk_or_a_containers_own_is_not_watched(compose, path):
    assert _not_watched(compose).search(path)


def _not_watched(compose):
    option = "--collector.filesystem.mount-points-exclude="
    (word,) = (word for word in compose["services"]["node_exporter"]["command"] if word.startswith(option))
    return re.compile(word.removeprefix(option).replace("$$", "$"))


def test_no_dollar_is_left_for_docker_to_fill_in_from_the_environment():
    text = template.render(template.variables(CLUSTER, IMAGES, settings.read()))
    assert not re.search(r"(?<!\$)\$(?!\$)[A-Za-z{(]", text.replace("$$", ""))
