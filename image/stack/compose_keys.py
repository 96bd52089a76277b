"""Which keys a compose file for a swarm may have, and which of them a swarm ignores.

Source: docker's command line, cli/compose/schema/data/config_schema_v3.13.json for what is known;
UnsupportedProperties, DeprecatedProperties and ForbiddenProperties of cli/compose/types/types.go for what is
ignored or refused. `depends_on`, `tmpfs` and fixed addresses are in none of these lists: they are read, and
cli/compose/convert/service.go makes nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping

ANY = "*"
"""Stands for keys that are a person's own, such as services' names."""

Keys = Mapping[str, "Keys | None"]
"""What a mapping may have; None where nothing below is looked at. A list is looked at item by item."""


def _leaves(names: str) -> dict[str, Keys | None]:
    return dict.fromkeys(names.split())


_HANDED = _leaves("source target uid gid mode")
_UPDATE = _leaves("parallelism delay failure_action monitor max_failure_ratio order")
_GENERIC: Keys = {"discrete_resource_spec": _leaves("kind value")}

_DEPLOY: Keys = {
    **_leaves("mode endpoint_mode replicas labels"),
    "placement": {**_leaves("constraints max_replicas_per_node"), "preferences": _leaves("spread")},
    "resources": {
        "limits": _leaves("cpus memory pids"),
        "reservations": {**_leaves("cpus memory"), "generic_resources": _GENERIC},
    },
    "restart_policy": _leaves("condition delay max_attempts window"),
    "rollback_config": _UPDATE,
    "update_config": _UPDATE,
}

SERVICE: Keys = {
    **_leaves("cap_add cap_drop command dns dns_search entrypoint env_file environment extra_hosts hostname image"),
    **_leaves("init isolation labels oom_score_adj read_only stdin_open stop_grace_period stop_signal sysctls tty"),
    **_leaves("ulimits user working_dir"),
    "configs": _HANDED,
    "credential_spec": _leaves("config file registry"),
    "deploy": _DEPLOY,
    "healthcheck": _leaves("disable interval retries start_interval start_period test timeout"),
    "logging": _leaves("driver options"),
    "networks": {ANY: _leaves("aliases driver_opts ipv4_address ipv6_address")},
    "ports": _leaves("mode target published protocol"),
    "secrets": _HANDED,
    "volumes": {
        **_leaves("type source target read_only consistency"),
        "bind": _leaves("propagation"),
        "cluster": None,
        "image": _leaves("subpath"),
        "tmpfs": _leaves("size"),
        "volume": _leaves("nocopy subpath"),
    },
}

_FILE = _leaves("name file external labels template_driver")

TOP: Keys = {
    "version": None,
    "services": {ANY: SERVICE},
    "networks": {
        ANY: {
            **_leaves("name driver driver_opts external internal attachable labels"),
            "ipam": {"driver": None, "config": _leaves("subnet")},
        }
    },
    "volumes": {ANY: _leaves("name driver driver_opts external labels")},
    "configs": {ANY: _FILE},
    "secrets": {ANY: {**_FILE, **_leaves("driver driver_opts")}},
}

IGNORED: Mapping[str, str] = {
    "build": "build the image before: a folder with an image.toml, and build-all",
    "cgroup_parent": "leave it out",
    "cgroupns_mode": "leave it out",
    "container_name": "leave it out: the swarm names its containers; hostname is what a program sees",
    "cpu_quota": "deploy.resources.limits.cpus",
    "cpu_shares": "deploy.resources.limits.cpus",
    "cpus": "deploy.resources.limits.cpus",
    "cpuset": "deploy.resources.limits.cpus",
    "depends_on": "leave it out: services start in any order, and a program has to try again",
    "devices": "leave it out: a service gets no devices",
    "domainname": "hostname",
    "expose": "leave it out: services of one network reach all ports of each other",
    "extends": "YAML's anchors: &name, *name and <<",
    "external_links": "networks",
    "ipc": "leave it out",
    "links": "leave it out: services of one network find each other by their names",
    "mac_address": "leave it out",
    "mem_limit": "deploy.resources.limits.memory",
    "mem_reservation": "deploy.resources.reservations.memory",
    "memswap_limit": "deploy.resources.limits.memory",
    "network_mode": "networks; for the node's own, one with external: true and name: host",
    "pid": "leave it out; mount /proc to look at the node's processes",
    "privileged": "cap_add for what the program needs",
    "restart": "deploy.restart_policy",
    "security_opt": "leave it out; no-new-privileges can be set for the whole engine",
    "shm_size": "volumes: {type: tmpfs, target: /dev/shm, tmpfs: {size: …}}",
    "tmpfs": "volumes: {type: tmpfs, target: …}",
    "userns_mode": "leave it out",
    "volume_driver": "driver of the volume, under volumes",
    "volumes_from": "a named volume that both services mount",
}
"""A service's keys that mean nothing to a swarm, with what to write instead."""

IGNORED_IN_NETWORKS: Mapping[str, str] = {
    "ipv4_address": "leave it out: the swarm gives addresses; use the service's name",
    "ipv6_address": "leave it out: the swarm gives addresses; use the service's name",
}
"""Likewise, of a service in one of its networks."""
