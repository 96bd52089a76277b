"""What differs between a service that runs and one that is wanted, on values as the Engine API gives them."""

from __future__ import annotations

import copy

import pytest

from image.stack.difference import Change, compare, fields, lines

NETWORKS = {"2tzu6baqwd8g": "shelf_default"}
RUNNING = {
    "Name": "shelf_web",
    "Labels": {"com.docker.stack.image": "r/web@sha256:1", "com.docker.stack.namespace": "shelf"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "r/web@sha256:1",
            "Labels": {"com.docker.stack.namespace": "shelf"},
            "Args": ["--a", "b c"],
            "Env": ["CLUSTER=attic", "EMPTY="],
            "Privileges": {"CredentialSpec": None, "NoNewPrivileges": False},
            "ReadOnly": True,
            "StopGracePeriod": 1_500_000_000,
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10_000_000_000},
            "Mounts": [{"Type": "bind", "Source": "/", "Target": "/host", "ReadOnly": True}],
            "Configs": [
                {
                    "ConfigID": "c1",
                    "ConfigName": "shelf_rules_1",
                    "File": {"Name": "/r", "UID": "0", "GID": "0", "Mode": 292},
                }
            ],
            "Isolation": "default",
        },
        "Resources": {"Limits": {"MemoryBytes": 33554432, "NanoCPUs": 500_000_000}, "Reservations": {}},
        "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000, "MaxAttempts": 0},
        "Placement": {"Constraints": ["node.role == worker"], "MaxReplicas": 1},
        "Networks": [{"Target": "2tzu6baqwd8g", "Aliases": ["web"]}],
        "LogDriver": {"Name": "local", "Options": {"max-size": "5m"}},
        "ForceUpdate": 3,
        "Runtime": "container",
    },
    "Mode": {"Replicated": {"Replicas": 2}},
    "EndpointSpec": {"Mode": "dnsrr", "Ports": [{"TargetPort": 8080, "PublishedPort": 80, "PublishMode": "host"}]},
}  # fmt: skip


def edited(*path_and_value: object):
    """What runs, with another value at a path."""
    *path, last, value = path_and_value
    spec = copy.deepcopy(RUNNING)
    inner = spec
    for key in path:
        inner = inner[key]  # type: ignore[index]
    inner[last] = value  # type: ignore[index]
    return spec


CONTAINER = ("TaskTemplate", "ContainerSpec")


@pytest.mark.parametrize(
    ("spec", "field", "before", "after"),
    [
        (edited(*CONTAINER, "Image", "r/web@sha256:2"), "image", "r/web@sha256:1", "r/web@sha256:2"),
        (edited(*CONTAINER, "Args", ["--a"]), "command", "--a 'b c'", "--a"),
        (edited(*CONTAINER, "Env", ["CLUSTER=attic", "EMPTY=", "NEW=1"]), "environment.NEW", None, "1"),
        (edited(*CONTAINER, "Env", ["CLUSTER=attic"]), "environment.EMPTY", "", None),
        (edited(*CONTAINER, "ReadOnly", False), "read_only", "true", None),
        (edited(*CONTAINER, "StopGracePeriod", 60_000_000_000), "stop_grace_period", "1.5s", "60s"),
        (edited(*CONTAINER, "Healthcheck", "Interval", 20_000_000_000), "healthcheck.interval", "10s", "20s"),
        (edited(*CONTAINER, "Mounts", []), "volumes./host", "bind / read-only", None),
        (edited(*CONTAINER, "Configs", []), "configs./r", "shelf_rules_1 mode=0444 uid=0 gid=0", None),
        (edited(*CONTAINER, "Labels", {"a.B": "c"}), "labels.a.B", None, "c"),
        (edited("Labels", {"a.B": "c"}), "deploy.labels.a.B", None, "c"),
        (
            edited("TaskTemplate", "Resources", "Limits", {"MemoryBytes": 67108864, "NanoCPUs": 500_000_000}),
            "deploy.resources.limits.memory",
            "32M",
            "64M",
        ),
        (
            edited("TaskTemplate", "Placement", {"Constraints": ["node.role == manager"], "MaxReplicas": 1}),
            "deploy.placement.constraints",
            "'node.role == worker'",
            "'node.role == manager'",
        ),
        (edited("TaskTemplate", "LogDriver", {"Name": "local"}), "logging.options.max-size", "5m", None),
        (edited("TaskTemplate", "Networks", []), "networks.shelf_default", "web", None),
        (edited("Mode", {"Replicated": {"Replicas": 0}}), "deploy.replicas", "2", "0"),
        (edited("EndpointSpec", "Ports", []), "ports.80/tcp", "8080 host", None),
        (edited("EndpointSpec", "Mode", "vip"), "deploy.endpoint_mode", "dnsrr", "vip"),
        (edited("TaskTemplate", "RestartPolicy", "Delay", 0), "deploy.restart_policy.delay", "5s", "0s"),
        (edited(*CONTAINER, "StopGracePeriod", 0), "stop_grace_period", "1.5s", "0s"),
        (edited(*CONTAINER, "Init", False), "init", None, "false"),
        (edited("Labels", {"a.B": ""}), "deploy.labels.a.B", None, ""),
        (edited("UpdateConfig", {"Parallelism": 0}), "deploy.update_config.parallelism", None, "0"),
    ],
)
def test_a_field_that_differs_is_told_by_the_compose_files_name(spec, field, before, after):
    assert compare({"web": RUNNING}, {"web": spec}, NETWORKS) == (Change("web", field, before, after),)


@pytest.mark.parametrize(
    "spec",
    [
        edited("TaskTemplate", "ForceUpdate", 0),
        edited("TaskTemplate", "Networks", [{"Target": "shelf_default", "Aliases": ["web"]}]),
        edited("TaskTemplate", "RestartPolicy", {"Condition": "any", "Delay": 5_000_000_000}),
        edited("Labels", {"com.docker.stack.namespace": "shelf"}),
        edited("TaskTemplate", "RestartPolicy", {"Condition": "any", "MaxAttempts": 0, "Window": 0}),
        edited("TaskTemplate", "RestartPolicy", {}),
        edited(*CONTAINER, "Isolation", ""),
        # what the engine writes down where a compose file says nothing
        edited(
            "UpdateConfig", {"Parallelism": 1, "FailureAction": "pause", "MaxFailureRatio": 0, "Order": "stop-first"}
        ),
        edited("RollbackConfig", {"Parallelism": 1, "FailureAction": "", "Order": "", "Monitor": 5_000_000_000}),
    ],
)
def test_what_means_the_same_is_no_difference(spec):
    assert compare({"web": RUNNING}, {"web": spec}, NETWORKS) == ()
    assert compare({"web": spec}, {"web": RUNNING}, NETWORKS) == ()


@pytest.mark.parametrize(
    ("task", "field", "default"),
    [
        (lambda time: {"ContainerSpec": {"StopGracePeriod": time}}, "stop_grace_period", 10_000_000_000),
        (lambda time: {"RestartPolicy": {"Delay": time}}, "deploy.restart_policy.delay", 5_000_000_000),
    ],
)
def test_a_zero_is_not_what_holds_where_nothing_is_said(task, field, default):
    unsaid, zero, said = ({"Mode": {"Global": {}}, "TaskTemplate": one} for one in ({}, task(0), task(default)))
    assert compare({"web": unsaid}, {"web": zero}, {}) == (Change("web", field, None, "0s"),)
    assert compare({"web": unsaid}, {"web": said}, {}) == ()


def test_ports_that_the_swarm_chooses_are_told_apart_by_what_they_lead_to():
    def ports(*targets: int):
        return edited("EndpointSpec", "Ports", [{"TargetPort": target, "Protocol": "tcp"} for target in targets])

    assert compare({"web": ports(8080, 9090)}, {"web": ports(8081, 9090)}, NETWORKS) == (
        Change("web", "ports.any for 8080/tcp", "8080 ingress", None),
        Change("web", "ports.any for 8081/tcp", None, "8081 ingress"),
    )


def test_a_global_service_is_told_from_a_replicated_one():
    assert fields({"Mode": {"Global": {}}}, {}) == {"deploy.mode": "global"}
    assert fields({"Mode": {"Replicated": {}}}, {}) == {"deploy.replicas": "1"}


def test_new_and_removed_services_are_told_as_a_whole():
    changes = compare({"old": RUNNING}, {"web": RUNNING}, NETWORKS)
    assert changes == (Change("old", "", "r/web@sha256:1", None), Change("web", "", None, "r/web@sha256:1"))
    assert [change.removes for change in changes] == [True, False]


def test_differences_are_shown_a_service_a_paragraph():
    changes = (
        Change("new", "", None, "r/new:1"),
        Change("old", "", "r/old:1", None),
        Change("web", "deploy.replicas", "1", "2"),
        Change("web", "environment.A", None, "x"),
        Change("web", "environment.B", "y", None),
    )
    assert lines(changes) == [
        "+ new: r/new:1",
        "- old",
        "~ web",
        "    ~ deploy.replicas: 1 -> 2",
        "    + environment.A: x",
        "    - environment.B: y",
    ]
