"""What is rendered for which swarm, on values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from image import plan, settings
from image.cluster import Cluster, Endpoint, Node
from image.errors import UserError
from image.platform import Platform
from image.stack import deploy, history, template
from image.stack.difference import Change
from image.stack.history import Revision
from image.stack.rollout import Rollout
from image.stack.watch import Progress, Service, Snapshot

ARM64 = Platform("linux", "arm64")
PI1 = Node("n1", "pi1", "198.18.0.11", "manager", True, ARM64, {"prometheus": "true", "ipvs": "true"})
PI2 = Node("n2", "pi2", "198.18.0.12", "worker", True, ARM64, {"ipvs": "true"})
PI3 = Node("n3", "pi3", "198.18.0.13", "worker", True, ARM64, {"ipvs": "true"})
CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (PI1, PI2, PI3), Path("/nowhere"))
IMAGES = {one.name: f"pi1:5000/{one.name}@sha256:0" for one in plan.read()}


def rendered(*nodes: Node):
    cluster = replace(CLUSTER, nodes=nodes) if nodes else CLUSTER
    return yaml.safe_load(template.render(template.variables(cluster, IMAGES, settings.read())))


def test_every_image_is_a_digest_and_what_is_off_has_none():
    run = {service["image"] for service in rendered()["services"].values()}
    assert run == {reference for name, reference in IMAGES.items() if name not in ("registry", "whiskers")}


WITHOUT_IPVS = (PI1, PI2, replace(PI3, labels={"ipvs": "false"}))


@pytest.mark.parametrize("nodes", [(PI1, PI2, PI3), WITHOUT_IPVS])
def test_the_gateway_alone_publishes_a_port_on_each_node_itself_whatever_its_kernel_can(nodes):
    services = rendered(*nodes)["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"gateway": [{"target": 8443, "published": 443, "protocol": "tcp", "mode": "host"}]}
    assert services["gateway"]["deploy"]["mode"] == "global"
    assert {service["deploy"]["endpoint_mode"] for service in services.values()} == {"dnsrr"}


@pytest.mark.parametrize(("nodes", "modes"), [((PI1, PI2, PI3), ("ingress", "vip")), (WITHOUT_IPVS, ("host", "dnsrr"))])
def test_a_service_of_ones_own_is_told_how_ports_can_be_published(nodes, modes):
    values = template.variables(replace(CLUSTER, nodes=nodes), IMAGES, settings.read())
    assert (values["port_mode"], values["endpoint_mode"]) == modes


def test_node_exporter_is_everywhere_and_publishes_nothing():
    exporter = rendered()["services"]["node_exporter"]
    assert exporter["deploy"]["mode"] == "global"
    assert exporter["deploy"]["endpoint_mode"] == "dnsrr"
    assert "ports" not in exporter


def test_the_swarm_is_left_to_fill_in_the_nodes_name():
    hostnames = {service["hostname"] for service in rendered()["services"].values()}
    assert hostnames == {"{{.Node.Hostname}}"}


@pytest.mark.parametrize(
    ("nodes", "role"),
    [
        ((PI1, PI2, PI3), "worker"),
        ((PI1, PI2), "worker"),
        ((PI1, PI2, replace(PI3, ready=False)), "worker"),
        ((PI1, replace(PI2, ready=False)), "manager"),
        ((PI1,), "manager"),
    ],
)
def test_the_page_is_served_twice_by_workers_or_else_by_managers(nodes, role):
    web = rendered(*nodes)["services"]["web"]["deploy"]
    assert (web["placement"]["constraints"], web["replicas"]) == ([f"node.role == {role}"], 2)


def test_a_missing_variable_is_told_with_file_and_line():
    with pytest.raises(UserError, match=r"stack\.yml\.j2, line \d+: .*no attribute 'prometheus'"):
        template.render(template.variables(CLUSTER, {"node_exporter": "x"}, settings.read()))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("images.node_exportr", "images.node_exporter; or one of "),
        ("images.prometeus", "prometheus or images.prometheus or settings.prometheus; or one of "),
        ("setings.gateway_port", "settings; or one of "),
        ("mirrors.portainer", "one of .*; a mirror is there once `mirror NAME` enabled it"),
    ],
)
def test_a_misspelt_variable_is_answered_with_the_nearest(tmp_path, written, meant):
    file = tmp_path / "stack.yml.j2"
    file.write_text("{{ " + written + " }}\n")
    with pytest.raises(UserError, match=rf"line 1: .*\n  Try: {meant}"):
        template.render({**template.variables(CLUSTER, IMAGES, settings.read()), "mirrors": {}}, file)


def test_a_name_that_is_no_word_is_told_as_a_template_can_say_it(tmp_path):
    file = tmp_path / "stack.yml.j2"
    file.write_text("{{ images.my-app }}\n")
    with pytest.raises(UserError, match="images") as seen:
        template.render({"images": {"my-app": "x"}}, file)
    assert 'images["my-app"]' in seen.value.message
    file.write_text('{{ images["my-app"] }}\n')
    assert template.render({"images": {"my-app": "x"}}, file) == "x\n"


def test_a_templates_mistake_is_told_with_file_and_line(tmp_path):
    file = tmp_path / "stack.yml.j2"
    file.write_text("services:\n  {% if %}\n")
    with pytest.raises(UserError, match=r"stack\.yml\.j2, line 2: "):
        template.render({}, file)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{{ 1 + 'a' }}", r"line 2: unsupported operand type"),
        ("{{ 'a' % 3 }}", "line 2: not all arguments converted"),
        ("{{ 1 / 0 }}", "line 2: division by zero"),
        ("{{ 'a' | tojson(1, 2) }}", "line 2: "),
        ("\udcff", r"line \?: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_what_a_template_cannot_work_out_is_told_with_file_and_line(tmp_path, written, said):
    file = tmp_path / "stack.yml.j2"
    file.write_text("services:\n" + written + "\n", errors="surrogateescape")
    with pytest.raises(UserError, match=rf"stack\.yml\.j2, {said}"):
        template.render({}, file)


def test_a_swarm_without_a_node_for_prometheus_is_refused_with_the_command_that_labels_one():
    with pytest.raises(UserError, match="no node of attic has the label prometheus=true") as seen:
        template.prometheus_node(replace(CLUSTER, nodes=(PI2, PI3)))
    assert "docker --context attic node update --label-add prometheus=true NODE" in seen.value.message


def test_two_nodes_for_prometheus_are_refused_by_name():
    with pytest.raises(UserError, match="pi1 and pi2 have the label"):
        template.prometheus_node(replace(CLUSTER, nodes=(PI1, replace(PI2, labels=PI1.labels))))


def test_a_node_for_prometheus_that_is_away_is_named():
    with pytest.raises(UserError, match="pi1, the node with Prometheus' data, is not ready"):
        template.prometheus_node(replace(CLUSTER, nodes=(replace(PI1, ready=False), PI2)))


def configs(folder, **files):
    """The configs that a folder with these files gives."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return template.configs({"cluster": "attic"}, folder)


def test_a_configs_name_changes_with_its_content_and_with_who_fills_it_in(tmp_path):
    (first,) = configs(tmp_path, rules__yml="one")
    (second,) = configs(tmp_path, rules__yml="two")
    (tmp_path / "rules.yml").unlink()
    (third,) = configs(tmp_path, rules__yml__tmpl="two")
    assert first.key == second.key == third.key == "rules"
    assert len({first.name, second.name, third.name}) == 3


def test_a_file_is_handed_out_as_it_is_and_filled_in_here_or_by_the_swarm_where_its_name_says_so(tmp_path):
    text = "of {{ cluster }}\n"
    plain, here, swarm = configs(tmp_path, a__yml=text, b__yml__j2=text, c__yml__tmpl=text)
    assert (plain.data, plain.template_driver) == (b"of {{ cluster }}\n", "")
    assert (here.data, here.template_driver) == (b"of attic\n", "")
    assert (swarm.data, swarm.template_driver) == (b"of {{ cluster }}\n", "golang")
    assert [one.file for one in (plain, here, swarm)] == [
        f"{tmp_path.name}/{name}" for name in ("a.yml", "b.yml.j2", "c.yml.tmpl")
    ]


def test_two_files_of_one_config_are_refused_and_hidden_ones_are_none(tmp_path):
    with pytest.raises(UserError, match=r"rules\.yml and .*rules\.yml\.j2 are both config 'rules'"):
        configs(tmp_path, rules__yml="", rules__yml__j2="", __rules__yml__swp="")


def test_a_configs_missing_variable_is_told_with_its_file_and_line(tmp_path):
    with pytest.raises(UserError, match=r"rules\.yml\.j2, line 2: .*'clutser'"):
        configs(tmp_path, rules__yml__j2="one\n{{ clutser }}\n")


@pytest.mark.parametrize(("port", "url"), [(443, "https://198.18.0.11"), (8443, "https://198.18.0.11:8443")])
def test_a_person_enters_on_a_manager(port, url):
    assert template.gateway_url(CLUSTER, port) == url


def test_where_no_manager_takes_tasks_a_person_enters_on_a_worker():
    drained = replace(CLUSTER, nodes=(replace(PI1, ready=False), PI2, PI3))
    assert template.gateway_url(drained, 443) == "https://198.18.0.12"


def test_a_secret_has_the_name_that_the_swarm_has_for_its_newest_version(tmp_path):
    file = tmp_path / "stack.yml.j2"
    file.write_text("{{ secrets.password }} {{ secrets.other }}")
    values = template.variables(CLUSTER, IMAGES, settings.read(), {"password": "shelf_password-0123456789ab"})
    assert template.render(values, file) == "shelf_password-0123456789ab shelf_other-missing"


def revision(number: int, by: str = "bob@desk") -> Revision:
    return Revision(number, "unfinished", "2026-01-02T03:04:05+00:00", by, "", "", Rollout("services: {}", {}))


def stack(**specs: str) -> Snapshot:
    return Snapshot(tuple(Service(name, name, spec, "") for name, spec in specs.items()), (), ())


@pytest.mark.parametrize(
    ("now", "revisions", "who"),
    [
        (stack(web="6"), [revision(6)], ""),
        (stack(web="6"), [revision(6), revision(7)], "bob@desk has begun to roll out revision 7"),
        (stack(web="7"), [revision(6)], "somebody else has changed web"),
        (stack(web="6", new="7"), [revision(6)], "somebody else has changed new"),
        (stack(), [revision(6)], "somebody else has changed web"),
    ],
)
def test_who_rolls_out_at_the_same_time_is_known(now, revisions, who):
    assert deploy.meanwhile(stack(web="6"), now, revisions, revision(6)) == who


SCALED = Change("web", "deploy.replicas", "1", "2")
GONE = Change("old", "", "r/old:1", None)
RUNNING = (Progress("web", "converged", 2, 2),)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (deploy.Outcome((), False, 3, False, RUNNING), "stack shelf: nothing to do; web 2/2; revision 3"),
        (
            deploy.Outcome((SCALED, SCALED, GONE), True, 4, True, RUNNING),
            "stack shelf: deployed web, removed old; web 2/2; new revision 4",
        ),
        (
            deploy.Outcome((), True, 3, False, RUNNING),
            "stack shelf: told again, waited until all ran; web 2/2; revision 3",
        ),
    ],
)
def test_a_deploy_says_what_it_did(outcome, told):
    assert str(outcome) == told


def test_after_a_rollback_a_mistake_in_the_clones_settings_is_told_and_nothing_is_forgotten(tmp_path, monkeypatch):
    (tmp_path / "settings.toml").write_text("gateway_port = 0")
    monkeypatch.setattr(deploy, "prune", lambda *_: pytest.fail("something was forgotten"))
    told = deploy.tidied(replace(CLUSTER, credentials=tmp_path), deploy.Outcome((), False, 3, True, RUNNING))
    assert told.startswith("Warning: ")
    assert "gateway_port = 0 is not a port" in told


@pytest.mark.parametrize(("state", "new"), [("failed", True), ("unfinished", True), ("good", False)])
def test_a_stack_that_runs_at_the_second_try_is_new_and_so_makes_room_in_the_history(monkeypatch, state, new):
    monkeypatch.setattr(Endpoint, "client", lambda _: SimpleNamespace(close=lambda: None))
    last = replace(revision(6), state=state)
    plan = deploy._Plan((last,), last, stack(web="6"), (), (), "")
    monkeypatch.setattr(deploy, "_plan", lambda *_: plan)
    monkeypatch.setattr(deploy, "_roll_out", lambda *_: RUNNING)
    settled = []
    monkeypatch.setattr(history, "settle", lambda _, one, how: settled.append((one.number, how)))
    outcome = deploy.deploy(CLUSTER, last.rollout, 60, lambda _: None)
    assert (outcome.revision, outcome.new) == (6, new)
    assert settled == ([(6, "good")] if new else [])
