"""The engine of this machine, and what it lets a container do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker import DockerClient
from docker.errors import DockerException

from image.errors import UserError

# In the kernel's order: the place in this list is the bit in CapBnd (linux/capability.h).
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
).split()
_LEGACY_CGROUP = ("systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
# From here on the engine reads `cap_add=ALL` as "all that there is" and refuses to drop what is not.
_ENGINE_KNOWS_ITS_BOUNDS = 23
_TIMEOUT = 600  # seconds; an import of the node's image answers only when it is done


@dataclass(frozen=True)
class Machine:
    """What decides how a container may become a Pi."""

    engine_major: int
    cgroup_version: int
    missing_capabilities: tuple[str, ...]


def connect() -> DockerClient:
    """The engine that DOCKER_HOST names, or the one at the default socket.

    Raises:
        UserError: it does not answer, or does not let this user in.
    """
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        return docker.from_env(timeout=_TIMEOUT)
    except DockerException as error:
        if "PermissionError" in str(error) or "Permission denied" in str(error):
            raise UserError(
                f"the engine at {where} does not let this user in",
                "sudo usermod -aG docker $USER, then log in again (or use sudo make)",
            ) from None
        raise UserError(f"no engine answers at {where}, and virtual Pis are containers", "make setup") from None


def inspect(client: DockerClient) -> Machine:
    """Read what this machine and its engine offer."""
    info: dict[str, Any] = client.info()
    return Machine(
        engine_major=parse_major(str(info.get("ServerVersion", ""))),
        cgroup_version=int(info.get("CgroupVersion") or 1),
        missing_capabilities=missing_capabilities(
            Path("/proc/self/status").read_text(encoding="ascii", errors="replace"),
            int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii")),
        ),
    )


def parse_major(version: str) -> int:
    """`20.10.24+dfsg1` -> 20; an engine that does not say is taken for a new one."""
    found = re.match(r"v?([0-9]+)", version)
    return int(found.group(1)) if found else _ENGINE_KNOWS_ITS_BOUNDS


def missing_capabilities(status: str, last: int) -> tuple[str, ...]:
    """Capabilities that the kernel knows (0 to `last`) and this machine's bounding set lacks."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bounding = int(found.group(1), 16) if found else ~0
    return tuple(name for bit, name in enumerate(_CAPABILITIES[: last + 1]) if not bounding >> bit & 1)


def command(machine: Machine) -> list[str]:
    """Arguments for systemd."""
    return list(_LEGACY_CGROUP) if machine.cgroup_version == 1 else []


def host_config(client: DockerClient, machine: Machine, volumes: Mapping[str, str]) -> dict[str, Any]:
    """The part of a container that lets systemd and an engine work inside, as the Engine API wants it."""
    legacy = machine.cgroup_version == 1
    binds: dict[str, Mapping[str, str]] = {volume: {"bind": folder, "mode": "rw"} for volume, folder in volumes.items()}
    if legacy:
        binds["/sys/fs/cgroup"] = {"bind": "/sys/fs/cgroup", "mode": "rw"}
    if Path("/lib/modules").is_dir():
        # an engine loads kernel modules (ip_vs, br_netfilter), and the kernel is this machine's
        binds["/lib/modules"] = {"bind": "/lib/modules", "mode": "ro"}
    config: dict[str, Any] = client.api.create_host_config(
        binds=binds,
        tmpfs={"/run": "", "/run/lock": ""},
        # `reboot` inside ends PID 1 with an error, and the engine starts it again
        restart_policy={"Name": "on-failure"},
        # on cgroup v1 systemd needs the host's tree; on v2 its own
        cgroupns="host" if legacy else "private",
        **_privileges(machine),
    )
    if machine.missing_capabilities:
        # what the command line calls --security-opt systempaths=unconfined
        config |= {"MaskedPaths": [], "ReadonlyPaths": []}
    return config


def _privileges(machine: Machine) -> dict[str, Any]:
    if not machine.missing_capabilities:
        return {"privileged": True}
    drop = machine.missing_capabilities if machine.engine_major < _ENGINE_KNOWS_ITS_BOUNDS else ()
    return {
        "cap_add": ["ALL"],
        "cap_drop": list(drop),
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "device_cgroup_rules": ["a *:* rwm"],
    }
