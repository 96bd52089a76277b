"""What the stack's files promise each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from image import plan, settings, template
from image.cluster import Cluster, Endpoint, Node
from image.platform import Platform

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = yaml.safe_load((ROOT / "Prometheus" / "root/etc/prometheus/prometheus.yml").read_text())
SELF = (ROOT / "stack" / "configs" / "prometheus_self.yml.tmpl").read_text()
PI1 = Node("n1", "pi1", "198.18.0.11", "manager", True, Platform("linux", "arm64"), {"prometheus": "true"})
CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (PI1,), Path("/nowhere"))
IMAGES = {one.name: f"pi1:5000/{one.name}@sha256:0" for one in plan.read()}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(template.render(template.variables(CLUSTER, IMAGES, settings.read())))


def test_prometheus_discovers_a_service_that_the_stack_has(compose):
    (job,) = PROMETHEUS["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    services = [name.removeprefix("tasks.") for name in discovery["names"]]
    assert set(services) <= set(compose["services"])
    assert discovery["type"] == "A"


def test_prometheus_reads_the_config_that_the_stack_hands_it(compose):
    (pattern,) = PROMETHEUS["scrape_config_files"]
    (handed,) = compose["services"]["prometheus"]["configs"]
    assert Path(handed["target"]).match(pattern)
    assert compose["configs"][handed["source"]]["template_driver"] == "golang"


def test_prometheus_own_series_carry_the_nodes_name_too(compose):
    (job,) = yaml.safe_load(SELF)["scrape_configs"]
    (static,) = job["static_configs"]
    assert (job["job_name"], static["labels"]) == ("prometheus", {"node": '{{ env "NODE" }}'})
    assert compose["services"]["prometheus"]["environment"]["NODE"] == "{{.Node.Hostname}}"


def test_every_config_in_the_folder_is_used(compose):
    handed = {one["source"] for service in compose["services"].values() for one in service.get("configs", ())}
    assert handed == set(compose["configs"])


def test_every_service_is_bounded_in_memory_and_logs_and_has_no_capabilities(compose):
    for name, service in compose["services"].items():
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["logging"]["options"]["max-size"], name
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name


def test_a_failed_update_goes_back_and_the_old_task_makes_room_first(compose):
    for name, service in compose["services"].items():
        update = service["deploy"]["update_config"]
        assert (update["failure_action"], update["order"]) == ("rollback", "stop-first"), name


def test_the_measurements_outlive_a_restart(compose):
    assert {"type": "volume", "source": "prometheus", "target": "/prometheus"} in compose["services"]["prometheus"][
        "volumes"
    ]
    assert "prometheus" in compose["volumes"]


def test_no_dollar_is_left_for_docker_to_fill_in_from_the_environment():
    text = template.render(template.variables(CLUSTER, IMAGES, settings.read()))
    assert not re.search(r"(?<!\$)\$(?!\$)[A-Za-z{(]", text.replace("$$", ""))
