"""The system, its kernel, its clock and its disks."""

from __future__ import annotations

from doctor.checks.advice import PROVISION
from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, failure, ok, together, unknown, warning
from facts.disks import Disk, Disks
from facts.host import Host, platform
from facts.kernel import Kernel

_OLDEST = {"debian": 12.0, "raspbian": 12.0, "ubuntu": 22.04}
_WIDE, _NARROW = ("aarch64", "x86_64"), ("armhf", "armel", "i386")
_CONTROLLERS = {"cpu", "cpuset", "pids"}
_LATE, _WRONG = 5.0, 60.0  # seconds
_FULL, _NEARLY_FULL = 0.95, 0.85
_GIB = 1024 * 1024  # KiB
_UBUNTU_MODULES = "`apt install linux-modules-extra-raspi` and a reboot bring it"


def answers(host: HostEvidence, _: Evidence) -> Finding:
    """Whether it answers over ssh, and lets its state be read."""
    if host.silence:
        return failure(
            "no answer", host.silence, f"bring it back, or correct its address ({host.address}) in the inventory"
        )
    if not host.parts:
        return failure(
            "not readable",
            f"nothing could be read as root: {host.refusal or 'the run says above why'}",
            "let its user become root with sudo; `pyinfra -vvv` shows more of what the host said",
        )
    return ok("yes")


def system(host: HostEvidence, _: Evidence) -> Finding:
    """Which system it runs."""
    kernel = host.read(Kernel)
    if not kernel.system:
        return unknown("/etc/os-release does not tell")
    if "debian" not in kernel.family and "raspbian" not in kernel.family:
        return failure(
            kernel.system, "provisioning installs Debian's packages", "Raspberry Pi OS lite, Debian or Ubuntu"
        )
    oldest = _OLDEST.get(kernel.family[0])
    if oldest and _number(kernel.release) < oldest:
        return warning(kernel.system, "it gets no or few updates any more", "a newer release, on a new card")
    return ok(kernel.system.replace("GNU/Linux ", ""))


def _number(release: str) -> float:
    try:
        return float(release)
    except ValueError:
        return float("inf")  # testing and unstable have none


def architecture(host: HostEvidence, _: Evidence) -> Finding:
    """What its kernel and its programs are made for."""
    state = host.read(Host)
    both = f"{state.architecture} on {state.machine}"
    if platform(state.architecture, state.machine) == "linux/arm/v6":
        return warning(
            both,
            "on ARMv6 a swarm's routing of published ports does not work, and Docker from 29 on has no packages",
            "publish ports of services that run there with `mode: host`, and leave the engine at 28 or older",
        )
    if state.machine in _WIDE and state.architecture in _NARROW:
        return warning(
            both,
            "a 64-bit kernel with 32-bit programs: the engine runs 32-bit images where others expect 64-bit ones,"
            " and Docker from 29 on has no packages",
            "install the 64-bit system anew; or `arm_64bit=0` in /boot/firmware/config.txt, so that both are 32-bit",
        )
    if state.architecture in _NARROW:
        return ok(both, "Docker's own packages end with engine 28 on 32-bit systems; Debian's go on")
    return ok(state.architecture)


def memory_cgroup(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the kernel counts memory, so that limits hold."""
    state = host.read(Host)
    if state.memory_cgroup:
        return ok("on")
    why = "memory limits of services are silently ignored"
    if "cgroup_enable=memory" in state.cmdline.split():
        return warning(
            "off until reboot", f"{why}; the kernel's command line is right, and not yet in use", "reboot it"
        )
    if state.cmdline_path:
        return warning("off", why, f"{PROVISION}: it adds cgroup_enable=memory to {state.cmdline_path} and reboots")
    return warning("off", why, "boot the kernel with cgroup_enable=memory")


def control_groups(host: HostEvidence, _: Evidence) -> Finding:
    """Which version, and which controllers."""
    kernel = host.read(Kernel)
    value = "version 2" if kernel.unified else "version 1"
    if missing := sorted(_CONTROLLERS - kernel.controllers):
        return warning(
            f"{value}, no {', '.join(missing)}", "limits of that kind cannot be set", "boot a kernel that has it"
        )
    return ok(value) if kernel.unified else ok(value, "Docker from 29 on calls version 1 deprecated")


def ipvs(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the kernel can route a swarm's published ports."""
    if host.read(Host).ipvs:
        return ok("yes")
    return warning(
        "no ip_vs",
        "published ports and virtual addresses of services do not answer; DNS round-robin and `mode: host` ports do",
        _module_fix(host, "a kernel with the module ip_vs"),
    )


def vxlan(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the kernel can make the links that carry overlay networks."""
    links = host.read(Kernel).links
    if links is None:
        return unknown("it has no `ip` to make one with")
    if "vxlan" in links:
        return ok("made, removed")
    return failure("no vxlan", "overlay networks cannot be made", _module_fix(host, "a kernel with the module vxlan"))


def _module_fix(host: HostEvidence, otherwise: str) -> str:
    return _UBUNTU_MODULES if "ubuntu" in host.read(Kernel).family else f"{otherwise}; Raspberry Pi OS's own has it"


def container_kernel(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the kernel has what every container needs."""
    kernel = host.read(Kernel)
    missing = [] if kernel.overlay else ["overlay"]
    missing += sorted({"bridge", "veth"} - kernel.links) if kernel.links is not None else []
    if missing:
        return failure(
            f"no {', '.join(missing)}",
            "containers cannot be started",
            _module_fix(host, f"a kernel with the module {' and '.join(missing)}"),
        )
    return ok("overlay, bridge, veth")


def clock(host: HostEvidence, _: Evidence) -> Finding:
    """Whether it tells the time of this computer, and something keeps it so."""
    found = host.read(Host).clock
    value = f"{found.offset:+.0f} s" if abs(found.offset) >= 1 else "right"
    fix = "`timedatectl` on both shows who is wrong; a time server that it reaches sets it"
    if abs(found.offset) > _WRONG:
        return failure(value, "certificates look expired, or not valid yet, to one side", fix)
    if not found.keeps:
        return warning(
            f"{value}, not kept",
            "no program keeps it right, and a Pi has no clock of its own",
            "`timedatectl set-ntp true`",
        )
    if abs(found.offset) > _LATE:
        return warning(value, "it differs from this computer's", fix)
    return ok(value)


def disk_space(host: HostEvidence, _: Evidence) -> Finding:
    """How full its disks are."""
    disks = host.read(Disks).disks
    tightest = min((disk.free for disk in disks), default=0)
    return together(
        (
            _full(disk, disk.full, f"{disk.free / _GIB:.1f} GiB free on {disk.mounted_on}")
            for disk in disks
            if disk.size
        ),
        ok(f"{tightest / _GIB:.1f} GiB free") if disks else unknown("df does not tell"),
    )


def inodes(host: HostEvidence, _: Evidence) -> Finding:
    """How many more files its disks can hold."""
    counted = [disk for disk in host.read(Disks).disks if disk.inodes]
    most = max((disk.inodes_full for disk in counted), default=0.0)
    return together(
        (_full(disk, disk.inodes_full, f"{disk.free_inodes} inodes free on {disk.mounted_on}") for disk in counted),
        ok(f"{most:.0%} used"),
    )


def _full(disk: Disk, share: float, value: str) -> Finding | None:
    why = f"{disk.mounted_on} is {share:.0%} full, and the engine fails in odd ways when it is"
    fix = "`docker system prune` (not --volumes), shorter logs, or a larger card"
    if share >= _FULL:
        return failure(value, why, fix)
    return warning(value, why, fix) if share >= _NEARLY_FULL else None
