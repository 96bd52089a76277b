"""What is found wrong with a stack before a deploy, on values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from image import plan, settings
from image.cluster import Cluster, Endpoint, Node
from image.errors import UserError
from image.platform import Platform
from image.stack import lint, template
from image.stack.compose_keys import IGNORED
from image.stack.lint import Port, Swarm
from image.stack.yaml_lines import parse

ARM64, V7, V6 = Platform("linux", "arm64"), Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6")
GIB = 2**30
PI1 = Node("n1", "pi1", "198.18.0.11", "manager", True, ARM64, {"prometheus": "true"}, 4 * GIB, 4)
PI2 = Node("n2", "pi2", "198.18.0.12", "worker", True, ARM64, {}, 1 * GIB, 4)
PI3 = Node("n3", "pi3", "198.18.0.13", "worker", True, V6, {}, GIB // 2, 1)
SWARM = Swarm((PI1, PI2, PI3))


def findings(text: str, swarm: Swarm = SWARM) -> list[str]:
    return [f"{one.line}: {one.message}" for one in lint.lint(text, swarm)]


def found(body: str, swarm: Swarm = SWARM) -> str:
    """What is said of a service with one more line; it stands in line 4."""
    said = findings(f"services:\n  web:\n    image: r/web\n    {body}\n", swarm)
    return "\n".join(said)


def test_the_stack_itself_has_no_mistakes(tmp_path):
    cluster = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (PI1, PI2, PI3), tmp_path)
    images = {one.name: f"r/{one.name}@sha256:0" for one in plan.read()}
    text = template.render(template.variables(cluster, images, settings.read()))
    assert findings(text, replace(SWARM, registry_port=5000)) == []


@pytest.mark.parametrize("key", IGNORED)
def test_what_a_swarm_ignores_is_told_with_what_to_write_instead(key):
    assert found(f"{key}: x") == f"4: services.web.{key}: a swarm ignores it; {IGNORED[key]}"


def test_an_address_that_a_swarm_would_not_give_is_told():
    said = findings("services: {web: {image: x, networks: {default: {ipv4_address: 10.0.0.2}}}}")
    assert said == [
        "1: services.web.networks.default.ipv4_address: a swarm ignores it; "
        "leave it out: the swarm gives addresses; use the service's name"
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("comand: [x]", "4: services.web.comand: no such key; 'command'?"),
        ("deploy: {replica: 2}", "4: services.web.deploy.replica: no such key; 'replicas'?"),
        ("deploy: {resources: {limits: {memroy: 1M}}}", "limits.memroy: no such key; 'memory'?"),
        ("ports: [{target: 1, publish: 2}]", "services.web.ports.publish: no such key; 'published'?"),
        ("volumes: [{type: bind, source: /, target: /x, bind: {propagatoin: rslave}}]", "'propagation'?"),
        ("qqqqqq: 1", "no such key; known are cap_add, cap_drop, command"),
    ],
)
def test_a_misspelt_key_is_told_with_the_nearest(body, said):
    assert said in found(body)


def test_a_persons_own_keys_and_extensions_are_left_alone():
    text = (
        "x-mine: {what: ever}\nservices: {web: {image: x, x-note: y, environment: {anything: 1}, labels: {a.b: c}}}\n"
    )
    assert findings(text) == []


def test_a_mistake_in_an_anchor_is_told_where_it_stands():
    text = "x-all: &all\n  restart: always\nservices:\n  web:\n    <<: *all\n    image: x\n"
    assert findings(text) == [f"2: services.web.restart: a swarm ignores it; {IGNORED['restart']}"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("configs: [ruels]", "services.web.configs: 'ruels' is not defined; 'rules'?"),
        ("configs: [{source: ruels, target: /x}]", "services.web.configs: 'ruels' is not defined; 'rules'?"),
        ("secrets: [password]", "services.web.secrets: 'password' is not defined; add it under secrets"),
        ("networks: [inner]", "services.web.networks: 'inner' is not defined"),
        ("networks: {inner: {aliases: [x]}}", "services.web.networks: 'inner' is not defined"),
        ("volumes: [dta:/data]", "services.web.volumes: 'dta' is not defined; 'data'?"),
        ("volumes: [{type: volume, source: dta, target: /x}]", "services.web.volumes: 'dta' is not defined; 'data'?"),
    ],
)
def test_a_name_that_is_not_defined_is_told_with_the_nearest(body, said):
    text = f"configs: {{rules: {{file: x}}}}\nvolumes: {{data: }}\nservices:\n  web: {{image: x, {body}}}\n"
    (one,) = findings(text)
    assert one.startswith(f"4: {said}")


@pytest.mark.parametrize(
    "body",
    ["configs: [rules]", "networks: [default]", "volumes: ['data:/x', '/etc:/etc:ro', './x:/y', /anonymous]"],
)
def test_a_name_that_is_defined_is_fine(body):
    text = f"configs: {{rules: {{file: x}}}}\nvolumes: {{data: }}\nservices: {{web: {{image: x, {body}}}}}\n"
    assert findings(text) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("hostname: a-$NAME", "4: $NAME: docker would fill it in from your environment; write $$NAME for a dollar"),
        ("command: [a, {b: '${NAME:-x}'}]", "4: ${NAME:-x}: docker would fill it in"),
        ("environment: [AWS_SECRET]", "4: services.web.environment.AWS_SECRET: without a value"),
        ("environment: {AWS_SECRET: , A: ''}", "4: services.web.environment.AWS_SECRET: without a value"),
    ],
)
def test_what_docker_would_take_from_a_persons_environment_is_told(body, said):
    assert found(body).startswith(said)
    assert found(body).count("\n") == 0


@pytest.mark.parametrize("body", ["hostname: $$NAME", "command: [a$$$$b, '^/(a|b)($$|/)']", "environment: ['A=', B=c]"])
def test_a_dollar_of_ones_own_is_fine(body):
    assert found(body) == ""


def test_a_variable_in_an_anchor_is_told_once_where_it_stands():
    text = "x-all: &all\n  hostname: $NAME\nservices:\n  a: {<<: *all, image: x}\n  b: {<<: *all, image: x}\n"
    (one,) = findings(text)
    assert one.startswith("2: $NAME")


def test_an_anchor_that_stands_for_itself_is_no_endless_loop():
    assert findings("services: {a: {image: x, command: &c [*c, $X]}}") == [
        "1: $X: docker would fill it in from your environment; write $$X for a dollar"
    ]


def test_a_secret_that_everybody_could_read_in_the_history_is_told():
    text = "secrets:\n  pw:\n    file: configs/pw.txt\n  other: {external: true}\nservices: {a: {image: x}}\n"
    (one,) = findings(text)
    assert one == (
        "3: secrets.pw.file: the history would keep it for all to read; "
        "python -m image secret set pw, then external: true and name: {{ secrets.pw }}"
    )


def constrained(*constraints: str, more: str = "") -> str:
    return f"deploy: {{placement: {{constraints: {list(constraints)}}}{more}}}"


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        ("node.labels.ssd == true", "no node meets it"),
        ("node.rule == worker", "no node has a 'node.rule'; 'node.role'?"),
        ("node.role = worker", "expected KEY == VALUE or KEY != VALUE"),
        ("node.role == wroker", "no node meets it"),
    ],
)
def test_a_constraint_that_no_node_meets_is_told(constraint, said):
    assert found(constrained(constraint)) == f"4: services.web: constraint {constraint!r}: {said}"


def test_constraints_that_no_node_meets_together_are_told():
    assert "no node meets all its constraints" in found(constrained("node.role == worker", "node.hostname == pi1"))


def test_a_service_whose_only_node_is_away_is_told_by_the_nodes_name():
    swarm = Swarm((replace(PI1, ready=False), PI2))
    assert "no node that may run it is ready and active: pi1" in found(constrained("node.role == manager"), swarm)


@pytest.mark.parametrize("constraint", ["node.role==manager", "NODE.ROLE == manager", "engine.labels.x == y"])
def test_a_constraint_that_may_be_met_is_fine(constraint):
    assert found(constrained(constraint)) == ""


def test_an_image_without_the_platform_of_a_node_that_may_run_it_is_told():
    swarm = replace(SWARM, platforms={"r/web": frozenset({ARM64, V7})})
    assert found("read_only: true", swarm) == (
        "3: services.web: the image has nothing for pi3 (linux/arm/v6), which may run it; "
        "it has linux/arm/v7, linux/arm64"
    )
    assert found(constrained("node.hostname != pi3"), swarm) == ""


def test_a_newer_arm_takes_what_is_for_an_older_one():
    assert found("read_only: true", replace(SWARM, platforms={"r/web": frozenset({V6})})) == ""


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ("limits: {memory: 8G}", "limits.memory: '8G' is more than any node that may run it has: 4096M"),
        ("reservations: {memory: 5000MiB}", "reservations.memory: '5000MiB' is more than any"),
        ("limits: {cpus: '4.5'}", "limits.cpus: '4.5' is more than any node that may run it has: 4"),
        ("limits: {memory: lots}", "limits.memory: 'lots' is no amount; e.g. 64M"),
        ("reservations: {cpus: many}", "reservations.cpus: 'many' is no amount; e.g. 0.5"),
        ("limits: {memory: 4G, cpus: '4'}", ""),
    ],
)
def test_what_is_more_than_any_node_has_is_told(resources, said):
    text = found(f"deploy: {{resources: {{{resources}}}}}")
    assert said in text
    assert bool(said) == bool(text)


def test_what_a_node_has_counts_only_where_the_service_may_run():
    text = found(constrained("node.role == worker", more=", resources: {limits: {memory: 2G}}"))
    assert "'2G' is more than any node that may run it has: 1024M" in text


def two(first: str, second: str) -> list[str]:
    return findings(f"services:\n  one: {{image: x, {first}}}\n  two: {{image: x, {second}}}\n")


def host(port: int, role: str = "", replicas: int = 1) -> str:
    where = f"placement: {{constraints: [node.role == {role}]}}, " if role else ""
    return f"ports: [{{target: 1, published: {port}, mode: host}}], deploy: {{{where}replicas: {replicas}}}"


def test_a_port_twice_in_the_stack_is_told():
    assert two("ports: ['80:1']", "ports: ['80:2']") == ["3: services.two.ports: port 80/tcp is published by one, too"]
    assert two("ports: ['80:1']", host(80)) == ["3: services.two.ports: port 80/tcp is published by one, too"]
    assert two("ports: ['80-82:1-3']", "ports: ['192.0.2.1:82:2']")
    assert two(host(80, "manager"), host(80, "manager"))
    assert two(host(80, replicas=2), host(80, replicas=2))


def test_ports_that_do_not_meet_are_fine():
    assert two("ports: ['80:1']", "ports: ['80:1/udp']") == []
    assert two(host(80, "manager"), host(80, "worker")) == []
    assert two(host(80), host(80)) == []
    assert two("ports: [80]", "ports: [80]") == []  # the swarm chooses what is published


def test_a_port_of_another_stack_is_told_by_its_service():
    others = (Port(80, "tcp", True, "shop_front"),)
    assert found("ports: ['80:1']", replace(SWARM, ports=others)) == (
        "4: services.web.ports: port 80/tcp is in use by service shop_front; publish another"
    )


@pytest.mark.parametrize(("port", "owner"), [(22, "ssh"), (2377, "the swarm"), (5000, "the registry")])
def test_a_port_of_the_nodes_own_is_told(port, owner):
    assert f"belongs to {owner} on a node" in found(f"ports: ['{port}:1']", replace(SWARM, registry_port=5000))


def test_other_stacks_ports_are_read_as_the_engine_api_gives_them():
    def service(name: str, stack: str) -> dict[str, object]:
        task = {"ContainerSpec": {"Image": "x"}, "Placement": {"Constraints": ["node.role == worker"]}}
        labels = {"com.docker.stack.namespace": stack}
        ports = [{"Protocol": "udp", "TargetPort": 5, "PublishedPort": 53, "PublishMode": "host"}]
        spec = {"Name": name, "Labels": labels, "TaskTemplate": task, "Mode": {"Global": {}}}
        return {"ID": name, "Spec": spec, "Endpoint": {"Ports": ports}}

    seen = lint.published_ports([service("dns_a", "dns"), service("shelf_web", "shelf")], "shelf", SWARM.nodes)
    assert seen == (Port(53, "udp", False, "dns_a", frozenset({"n2", "n3"}), 2),)


def test_all_mistakes_are_told_at_once_by_line():
    said = findings("services:\n  web:\n    image: x\n    restart: always\n    comand: x\n    networks: [ring]\n")
    assert [line.partition(":")[0] for line in said] == ["4", "5", "6"]


def test_what_is_no_yaml_is_told_with_its_line():
    with pytest.raises(UserError, match="line 2 of the rendered stack"):
        lint.lint("services:\n  web: [", SWARM)


words = st.sampled_from(
    [
        "image",
        "ports",
        "deploy",
        "<<",
        "services",
        "networks",
        "volumes",
        "configs",
        "restart",
        "x",
        "80:1",
        "8-9:1",
        "",
    ]
)
values = st.recursive(
    words | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["services", "networks", "configs", "volumes"]), values))
def test_every_structure_gets_findings_within_its_lines(structure):
    text = yaml.safe_dump(structure)
    for one in lint.lint(text, SWARM):
        assert 1 <= one.line <= text.count("\n") + 1
        assert one.message


@given(st.text(alphabet="ab:{}[]-,&*!<> \n'\"#|\t", max_size=40))
def test_every_text_is_linted_or_refused_in_words(text):
    try:
        said = [one.message for one in lint.lint(text, SWARM)]
    except UserError as error:
        said = [error.message]
    assert all(said)


def test_values_come_with_their_keys_lines_and_what_they_merge():
    root = parse("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc:\n  <<: [*a, *b]\n  z: 4\n")
    merged = root.at("c").table
    assert {key: (value.text, value.line) for key, value in merged.items()} == {
        "x": ("1", 1),
        "y": ("3", 2),
        "z": ("4", 5),
    }


TEMPLATE = """\
{#- a comment
    of two lines -#}
{%- set name = "web" -%}
services:
{%- for n in (1, 2) %}
  {{ name }}{{ n }}:
    image: {{ text }}
{%- endfor %}
{%- if true %}
last: 1
{%- endif %}
"""


def test_each_rendered_line_is_known_by_the_templates_own(tmp_path):
    file = tmp_path / "stack.yml.j2"
    file.write_text(TEMPLATE)
    values = {"text": "|\n      several\n      lines"}
    rendered = template.render(values, file).split("\n")
    lines = template.lines(values, file)
    assert list(zip(rendered, lines, strict=True)) == [
        ("services:", 4),
        ("  web1:", 6),
        ("    image: |", 7),
        ("      several", 7),
        ("      lines", 7),
        ("  web2:", 6),
        ("    image: |", 7),
        ("      several", 7),
        ("      lines", 7),
        ("last: 1", 10),
        ("", 12),
    ]
