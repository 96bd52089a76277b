"""What a host is: its name, its clock, its kernel. One round trip."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from facts.part import Part

MODULES: Final = ("overlay", "br_netfilter", "vxlan", "ip_vs", "ip_vs_rr", "xt_ipvs")
"""What the engine needs of the kernel for images, overlay networks and a swarm's published ports."""
MODULES_FILE: Final = "/etc/modules-load.d/pishelf.conf"
HOSTS_TEMPLATE: Final = "/etc/cloud/templates/hosts.debian.tmpl"


# Certificates are backdated by an hour, a swarm's own by less; a clock further off is not the network's delay.
TOLERATED_OFFSET: Final = 60.0  # seconds


@dataclass(frozen=True)
class Clock:
    """How a host tells the time.

    `offset` is in seconds, host minus controller, at most a round trip wrong; `keeps` says whether a
    program keeps it right, `can_keep` whether systemd could start one (not in a container, whose clock
    is its host's).
    """

    offset: float
    keeps: bool
    can_keep: bool


@dataclass(frozen=True)
class HostState:
    """What the deploys need to know of a host before they touch it."""

    hostname: str
    hosts_file: str
    hosts_template: str
    """What cloud-init makes the hosts file of at each boot, where it does; empty elsewhere."""
    machine: str
    """The kernel's word for the processor, e.g. `aarch64`."""
    architecture: str
    """Debian's word for what its programs are made for, e.g. `armhf`; a 64-bit kernel may run 32-bit programs."""
    clock: Clock
    ipvs: bool
    """Whether the kernel can route a swarm's published ports (IPVS); without it ingress ports and
    virtual addresses do not answer. Source: moby/moby#49505."""
    modules: tuple[str, ...]
    """Those of `MODULES` that the running kernel has, built in or to be loaded."""
    loaded_at_boot: str
    """Our list of modules for the next boot."""
    memory_cgroup: bool
    cmdline_path: str
    """Where a Raspberry Pi's firmware reads the kernel's command line; empty on other machines."""
    cmdline: str
    booted_with: str
    """The command line of the running kernel."""
    routes: tuple[str, ...]
    """The networks that the host reaches by a route which is not Docker's, e.g. `192.168.1.0/24`."""


def platform(architecture: str, machine: str) -> str:
    """The OCI platform whose images run: it follows the programs, and the processor where those leave it open.

    Raspberry Pi OS's armhf runs on ARMv6; Debian's name is the same.
    """
    if architecture == "armhf":
        return "linux/arm/v6" if machine == "armv6l" else "linux/arm/v7"
    return {"armel": "linux/arm/v6"}.get(architecture, f"linux/{architecture}")


class Host(Part[HostState]):
    """Reads `HostState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "hostname": "cat /proc/sys/kernel/hostname",
        "hosts": "cat /etc/hosts",
        "hosts_template": f"grep -q manage_etc_hosts /etc/hosts && cat {HOSTS_TEMPLATE}",
        "machine": "uname -m",
        "architecture": "dpkg --print-architecture",
        "time": "date +%s.%N",
        # timesyncd leaves a file; to ask timedatectl would start a service for it, and in a container for nothing.
        "clock": "if test -e /run/systemd/timesync/synchronized; then echo NTPSynchronized=yes;"
        " elif ! systemd-detect-virt --container --quiet; then"
        " timedatectl show -p NTP -p CanNTP -p NTPSynchronized; fi",
        "container": "systemd-detect-virt --container --quiet && echo yes",
        # The module may be built in, loaded, or there to be loaded; only trying tells.
        "ipvs": "modprobe ip_vs; test -e /proc/net/ip_vs && echo yes",
        "modules": f"modinfo -F name {' '.join(MODULES)}",
        "loaded_at_boot": f"cat {MODULES_FILE}",
        "memory": "grep -qw memory /sys/fs/cgroup/cgroup.controllers || test -d /sys/fs/cgroup/memory && echo yes",
        "cmdline_path": "for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do"
        ' if test -f "$file"; then echo "$file"; break; fi; done',
        # The first that is there, and no other: since bookworm the second one only says where the first one is.
        "cmdline": "for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do"
        ' if test -f "$file"; then cat "$file"; break; fi; done',
        "booted_with": "cat /proc/cmdline",
        "routes": "ip -4 -o route show | grep --invert-match --extended-regexp ' dev (docker|br-|veth)'",
    }

    def parse(self, found: Mapping[str, str]) -> HostState:
        return HostState(
            hostname=found["hostname"].strip(),
            hosts_file=found["hosts"],
            hosts_template=found["hosts_template"],
            machine=found["machine"].strip(),
            architecture=found["architecture"].strip(),
            clock=_clock(found),
            ipvs=found["ipvs"].strip() == "yes",
            modules=tuple(name for name in MODULES if name in found["modules"].split()),
            loaded_at_boot=found["loaded_at_boot"],
            memory_cgroup=found["memory"].strip() == "yes",
            cmdline_path=found["cmdline_path"].strip(),
            cmdline=found["cmdline"].strip(),
            booted_with=found["booted_with"].strip(),
            routes=tuple(
                words[0] for line in found["routes"].splitlines() if (words := line.split()) and "/" in words[0]
            ),
        )


def _clock(found: Mapping[str, str]) -> Clock:
    said = dict(line.split("=", 1) for line in found["clock"].splitlines() if "=" in line)
    in_container = found["container"].strip() == "yes"
    return Clock(
        offset=float(found["time"]) - time.time(),
        keeps=in_container or said.get("NTPSynchronized") == "yes",
        can_keep=said.get("CanNTP") == "yes" and said.get("NTP") != "yes" and not in_container,
    )
