"""What differs between the services that run and those that a deploy would make, field by field.

Fields have the compose file's names, for that is what a person edits; their values are one line of text.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from image.stack.dry_run import IMAGE_LABEL
from image.stack.rollout import NAMESPACE_LABEL

Spec = Mapping[str, Any]

# Where the Engine API's ServiceSpec has what the compose file calls otherwise; the longest match counts.
_COMPOSE = {
    "TaskTemplate.ContainerSpec": "",
    "TaskTemplate.ContainerSpec.Args": "command",
    "TaskTemplate.ContainerSpec.CapabilityAdd": "cap_add",
    "TaskTemplate.ContainerSpec.CapabilityDrop": "cap_drop",
    "TaskTemplate.ContainerSpec.Command": "entrypoint",
    "TaskTemplate.ContainerSpec.Dir": "working_dir",
    "TaskTemplate.ContainerSpec.Env": "environment",
    "TaskTemplate.ContainerSpec.Hosts": "extra_hosts",
    "TaskTemplate.ContainerSpec.Mounts": "volumes",
    "TaskTemplate.LogDriver": "logging",
    "TaskTemplate.LogDriver.Name": "logging.driver",
    "TaskTemplate.Networks": "networks",
    "TaskTemplate.Placement": "deploy.placement",
    "TaskTemplate.Placement.MaxReplicas": "deploy.placement.max_replicas_per_node",
    "TaskTemplate.Resources": "deploy.resources",
    "TaskTemplate.Resources.Limits.MemoryBytes": "deploy.resources.limits.memory",
    "TaskTemplate.Resources.Limits.NanoCPUs": "deploy.resources.limits.cpus",
    "TaskTemplate.Resources.Reservations.MemoryBytes": "deploy.resources.reservations.memory",
    "TaskTemplate.Resources.Reservations.NanoCPUs": "deploy.resources.reservations.cpus",
    "TaskTemplate.RestartPolicy": "deploy.restart_policy",
    "EndpointSpec.Mode": "deploy.endpoint_mode",
    "EndpointSpec.Ports": "ports",
    "Labels": "deploy.labels",
    "RollbackConfig": "deploy.rollback_config",
    "UpdateConfig": "deploy.update_config",
}
# What docker's command line does not decide.
_LEFT_OUT = {"Name", "TaskTemplate.ForceUpdate", "TaskTemplate.Runtime", "TaskTemplate.Placement.Platforms"}
_SECOND = 1_000_000_000
_UPDATE = {"Parallelism": 1, "FailureAction": "pause", "Monitor": 5 * _SECOND, "Order": "stop-first"}
# What holds where nothing was said, where that is not zero, no or nothing; None is the engine's own choice. So a zero
# says something here: `delay: 0s`. Source: swarmkit, api/defaults/service.go; some of them the engine writes down.
_DEFAULTS: Mapping[str, Any] = {
    "EndpointSpec.Mode": "vip",
    "TaskTemplate.ContainerSpec.Init": None,
    "TaskTemplate.ContainerSpec.Isolation": "default",
    "TaskTemplate.ContainerSpec.StopGracePeriod": 10 * _SECOND,
    "TaskTemplate.RestartPolicy.Condition": "any",
    "TaskTemplate.RestartPolicy.Delay": 5 * _SECOND,
    **{f"{config}.{key}": value for config in ("UpdateConfig", "RollbackConfig") for key, value in _UPDATE.items()},
}
# Whose values are a person's own, also empty ones.
_OWN = ("Labels.", "TaskTemplate.ContainerSpec.Labels.", "TaskTemplate.LogDriver.Options.")
_LABELS = {NAMESPACE_LABEL, IMAGE_LABEL}


@dataclass(frozen=True)
class Change:
    """One field of a service that would change; None where it is not there."""

    service: str
    field: str
    """Empty for the service as a whole: it would be new, or removed."""
    before: str | None
    after: str | None

    @property
    def removes(self) -> bool:
        """Whether the service would go."""
        return self.field == "" and self.after is None


def compare(running: Mapping[str, Spec], wanted: Mapping[str, Spec], networks: Mapping[str, str]) -> tuple[Change, ...]:
    """Compare services by name, as the Engine API has their specifications.

    Args:
        networks: name by id; a service that runs has the id, one that is sent has the name.
    """
    changes = []
    for name in sorted(running.keys() | wanted.keys()):
        old = fields(running[name], networks) if name in running else {}
        new = fields(wanted[name], networks) if name in wanted else {}
        if old and new:
            defaults = {_name(path): _text(path, value) for path, value in _DEFAULTS.items() if value is not None}
            was, will = {**defaults, **old}, {**defaults, **new}
            keys = sorted(key for key in old.keys() | new.keys() if was.get(key) != will.get(key))
            changes += [Change(name, key, old.get(key), new.get(key)) for key in keys]
        else:
            changes.append(Change(name, "", old.get("image"), new.get("image")))
    return tuple(changes)


def lines(changes: tuple[Change, ...]) -> list[str]:
    """For people: a service a paragraph, a field a line."""
    said = []
    service = ""
    for change in changes:
        if change.field == "":
            said.append(f"- {change.service}" if change.after is None else f"+ {change.service}: {change.after}")
            continue
        if change.service != service:
            said.append(f"~ {change.service}")
        service = change.service
        if change.before is None:
            said.append(f"    + {change.field}: {change.after}")
        elif change.after is None:
            said.append(f"    - {change.field}: {change.before}")
        else:
            said.append(f"    ~ {change.field}: {change.before} -> {change.after}")
    return said


def fields(spec: Spec, networks: Mapping[str, str]) -> dict[str, str]:
    """A service's specification as flat fields, without what means nothing."""
    return dict(_flat(spec, "", networks))


def _flat(value: Any, path: str, networks: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if path in _LEFT_OUT:
        return
    if path == "Mode.Global":
        yield "deploy.mode", "global"
    elif path == "Mode.Replicated":
        replicas = value.get("Replicas")
        yield "deploy.replicas", "1" if replicas is None else str(replicas)
    elif path in _KEYED:
        for item in value or ():
            key, text = _KEYED[path](item, networks)
            yield f"{_name(path)}.{key}", text
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _LABELS:
                yield from _flat(inner, f"{path}.{key}".lstrip("."), networks)
    elif value or (value == 0 and path in _DEFAULTS) or (value == "" and path.startswith(_OWN)):
        yield _name(path), _text(path, value)


def _name(path: str) -> str:
    """E.g. `TaskTemplate.ContainerSpec.Healthcheck.StartPeriod` -> `healthcheck.start_period`."""
    known = max((each for each in _COMPOSE if f"{path}.".startswith(f"{each}.")), key=len, default="")
    if path.startswith(("Labels.", "TaskTemplate.ContainerSpec.Labels.")):  # the keys are a person's own
        known, rest = path.split("Labels.", 1)
        return ("deploy." if not known else "") + f"labels.{rest}"
    rest = path.removeprefix(known).lstrip(".")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", rest).lower()
    return ".".join(filter(None, (_COMPOSE.get(known, ""), words)))


_DURATIONS = {"Interval", "Timeout", "Delay", "Monitor", "StopGracePeriod", "StartPeriod", "StartInterval", "Window"}


def _text(path: str, value: Any) -> str:
    key = path.rpartition(".")[2]
    if key in _DURATIONS:
        return f"{value / 1e9:g}s"
    if key in ("MemoryBytes", "SizeBytes"):
        return f"{value / 2**20:g}M"
    if key == "NanoCPUs":
        return f"{value / 1e9:g}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return shlex.join(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _variable(item: str, _: Mapping[str, str]) -> tuple[str, str]:
    name, _equals, value = item.partition("=")
    return name, value


def _port(item: Spec, _: Mapping[str, str]) -> tuple[str, str]:
    target, protocol = item["TargetPort"], item.get("Protocol", "tcp")
    published = item.get("PublishedPort") or f"any for {target}"
    return f"{published}/{protocol}", f"{target} {item.get('PublishMode', 'ingress')}"


def _mount(item: Spec, _: Mapping[str, str]) -> tuple[str, str]:
    rest = {key: value for key, value in item.items() if key not in ("Target", "Type", "Source", "ReadOnly")}
    words = [item.get("Type", ""), item.get("Source", ""), "read-only" if item.get("ReadOnly") else ""]
    options = (f"{name}={text}" for name, text in sorted(_flat(rest, "", {})))
    return item["Target"], " ".join(filter(None, (*words, *options)))


def _handed(kind: str) -> Callable[[Spec, Mapping[str, str]], tuple[str, str]]:
    def handed(item: Spec, _: Mapping[str, str]) -> tuple[str, str]:
        file = item.get("File") or {}
        text = f"{item[f'{kind}Name']} mode={file.get('Mode', 0):04o} uid={file.get('UID')} gid={file.get('GID')}"
        return file.get("Name", "runtime"), text

    return handed


def _network(item: Spec, networks: Mapping[str, str]) -> tuple[str, str]:
    return networks.get(item["Target"], item["Target"]), shlex.join(item.get("Aliases") or ())


# Lists whose items a person tells apart by something in them, and how.
_KEYED: dict[str, Callable[[Any, Mapping[str, str]], tuple[str, str]]] = {
    "TaskTemplate.ContainerSpec.Env": _variable,
    "TaskTemplate.ContainerSpec.Mounts": _mount,
    "TaskTemplate.ContainerSpec.Configs": _handed("Config"),
    "TaskTemplate.ContainerSpec.Secrets": _handed("Secret"),
    "TaskTemplate.Networks": _network,
    "EndpointSpec.Ports": _port,
}
