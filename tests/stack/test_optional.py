"""The services that not everybody wants, as they are rendered when they are on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from image import settings, table
from image.errors import UserError
from image.registry import mirror
from image.run import run
from image.settings import Mail, Services, Settings
from image.stack import lint, template
from image.stack.lint import Swarm
from tests.checkers import checker
from tests.stack.test_stack import CLUSTER, IMAGES

OFF = settings.read()
MAIL = Mail("ann@example.org, bob@example.org", "pi@example.org", "smtp.example.org:587", "pi$HOME", "")
ON = replace(OFF, services=Services(whiskers=True, grafana=True, portainer=True), mail=MAIL)
MIRRORS = {name: f"pi1:5000/mirror/{name}@sha256:0" for name in ("grafana", "portainer", "portainer_agent")}


def filled(chosen: Settings) -> dict[str, Any]:
    """The template's variables, as if the mirrors were in the registry."""
    values = template.variables(CLUSTER, {**IMAGES, "whiskers": "pi1:5000/whiskers@sha256:0"}, OFF)
    values |= {"settings": table.values(chosen), "mirrors": MIRRORS, "mail_ca": chosen.mail.ca}
    return {**values, "configs": template.configs(values)}


def rendered(chosen: Settings = ON) -> Any:
    return yaml.safe_load(template.render(filled(chosen)))


def test_what_is_off_leaves_nothing_in_the_stack() -> None:
    compose = rendered(OFF)
    assert not {"whiskers", "grafana", "portainer", "portainer_agent"} & set(compose["services"])
    assert not [key for key in compose["configs"] if key.startswith("grafana")]
    assert set(compose["networks"]) == {"default"}
    assert not {"whiskers", "grafana", "portainer"} & set(compose["volumes"])


@pytest.mark.parametrize("on", [(), ("grafana",), ("grafana", "portainer")])
def test_the_page_knows_what_it_may_link_to(on: tuple[str, ...]) -> None:
    chosen = replace(OFF, services=replace(OFF.services, **dict.fromkeys(on, True)))
    web = rendered(chosen)["services"]["web"]
    assert web["environment"]["SERVICES"].split() == ["prometheus", "alertmanager", *on]


def test_all_of_it_together_is_a_stack_without_mistakes() -> None:
    nodes = [replace(node, memory=2**32, cpus=4) for node in CLUSTER.nodes]
    assert lint.lint(template.render(filled(ON)), Swarm(nodes, registry_port=5000)) == ()


@pytest.mark.parametrize("service", ["whiskers", "grafana", "portainer"])
def test_each_is_a_stack_without_mistakes_on_its_own(service: str) -> None:
    chosen = replace(ON, services=replace(OFF.services, **{service: True}))
    nodes = [replace(node, memory=2**32, cpus=4) for node in CLUSTER.nodes]
    assert lint.lint(template.render(filled(chosen)), Swarm(nodes, registry_port=5000)) == ()
    assert service in rendered(chosen)["services"]


def test_every_volume_config_secret_and_network_is_somebodys() -> None:
    compose = rendered()
    services = compose["services"].values()
    volumes = {one["source"] for each in services for one in each.get("volumes", ()) if one["type"] == "volume"}
    assert volumes == set(compose["volumes"])
    for kind in ("configs", "secrets"):
        assert {one["source"] for each in services for one in each.get(kind, ())} == set(compose[kind])
    assert {name for each in services for name in each.get("networks", ["default"])} == set(compose["networks"])


def test_none_of_them_publishes_a_port_and_all_are_bounded() -> None:
    compose = rendered()
    for name in ("whiskers", "grafana", "portainer", "portainer_agent"):
        service = compose["services"][name]
        assert "ports" not in service, name
        assert service["deploy"]["resources"]["limits"].keys() == {"memory", "cpus"}, name
        assert service["cap_drop"] == ["ALL"], name


def test_no_password_is_in_the_stack_and_each_is_a_file_that_its_program_alone_may_read() -> None:
    compose = rendered()
    assert set(compose["secrets"]) >= {"smtp_password", "grafana_password", "portainer_password"}  # and its owner's own
    for name, user in {"whiskers": "65534", "grafana": "472", "portainer": None}.items():
        (secret,) = compose["services"][name]["secrets"]
        assert (secret["mode"], secret.get("uid")) == (0o400, user), name
    told = json.dumps(compose)
    assert not re.search(r"PASSWORD(?!__FILE)\b", told)
    assert "/run/secrets/grafana_password" in told
    assert "--admin-password-file=/run/secrets/portainer_password" in told


def test_the_cat_goes_where_alerts_go_unless_it_is_told_otherwise() -> None:
    def words(chosen: Settings) -> list[str]:
        return list(rendered(chosen)["services"]["whiskers"]["command"])

    assert "-to=ann@example.org, bob@example.org" in words(ON)
    own = replace(ON, whiskers=replace(ON.whiskers, to="cat@example.org", at="07:30", feed="https://x/?a=$b&c='d'"))
    assert {"-to=cat@example.org", "-at=07:30", "-feed=https://x/?a=$$b&c='d'"} <= set(words(own))
    # For docker one dollar is two: it would fill in this machine's HOME.
    assert "-username=pi$$HOME" in words(own)
    assert not [word for word in words(replace(ON, mail=replace(MAIL, username=""))) if "password" in word]


def test_grafana_shows_whoever_is_past_the_gateway_what_it_has_and_asks_for_a_password_before_a_change() -> None:
    said = rendered()["services"]["grafana"]["environment"]
    assert said["GF_SERVER_ROOT_URL"] == "https://198.18.0.11/grafana/"
    assert (said["GF_AUTH_ANONYMOUS_ENABLED"], said["GF_AUTH_ANONYMOUS_ORG_ROLE"]) == ("true", "Viewer")
    assert said["GF_SERVER_SERVE_FROM_SUB_PATH"] == "true"
    assert not [name for name in said if name.startswith("GF_AUTH_PROXY")]


def test_grafana_finds_its_data_and_its_dashboard_where_its_settings_say() -> None:
    compose, values = rendered(), filled(ON)
    handed = {one["target"]: one["source"] for one in compose["services"]["grafana"]["configs"]}
    data = {config.key: config.data.decode() for config in values["configs"]}
    (source,) = yaml.safe_load(data[handed["/etc/grafana/provisioning/datasources/shelf.yml"]])["datasources"]
    assert source["url"] == "http://tasks.prometheus:9090/prometheus"
    (provider,) = yaml.safe_load(data[handed["/etc/grafana/provisioning/dashboards/shelf.yml"]])["providers"]
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(f"{provider['options']['path']}/")
    dashboard = json.loads(data[handed[home]])
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}


def test_grafanas_sums_count_a_card_once_and_no_exporter_beside_its_successor(tmp_path: Path) -> None:
    dashboard = json.loads((template.FOLDER / "configs" / "grafana_shelf.json").read_text())
    asked = {one["title"]: [target["expr"] for target in one["targets"]] for one in dashboard["panels"]}
    test = {
        "interval": "15s",
        "input_series": [
            {"series": f'{name}{{node="pi1", device="{device}", instance="{instance}"}}', "values": "0+150x20"}
            for instance in "ab"
            for name, devices in {
                "node_disk_read_bytes_total": ("mmcblk0", "mmcblk0p2"),
                "node_disk_written_bytes_total": ("mmcblk0", "mmcblk0p2"),
                "node_network_receive_bytes_total": ("lo", "eth0"),
                "node_network_transmit_bytes_total": ("lo", "eth0"),
            }.items()
            for device in devices
        ],
        "promql_expr_test": [
            {
                "expr": f"round({expression})".replace("$node", ".+").replace("$__rate_interval", "1m"),
                "eval_time": "4m",
                "exp_samples": [{"labels": '{node="pi1"}', "value": -10 if expression.startswith("-") else 10}],
            }
            for title in ("Network, received and (below) sent", "Disks, read and (below) written")
            for expression in asked[title]
        ],
    }
    (tmp_path / "sums.yml").write_text(json.dumps({"tests": [test]}))  # JSON is YAML
    assert "SUCCESS" in run(checker("prometheus", "promtool"), "test", "rules", tmp_path / "sums.yml")


def test_only_portainer_reaches_its_agents() -> None:
    services = rendered()["services"]
    assert {name for name, service in services.items() if "portainer" in service.get("networks", ())} == {
        "portainer",
        "portainer_agent",
    }
    assert services["portainer_agent"]["networks"] == ["portainer"]


@pytest.mark.parametrize(("service", "names"), [("grafana", "grafana"), ("portainer", "portainer portainer_agent")])
def test_a_service_whose_image_was_never_mirrored_is_refused_with_the_command(service: str, names: str) -> None:
    with pytest.raises(UserError, match=f"service {service} is on .* (was|were) never mirrored") as seen:
        mirror.references(CLUSTER, [service])
    assert f"python -m image --context attic mirror {names}; or {service} = false" in seen.value.message
