"""How a host gets its name, the right time and its memory limits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Mapping
from pathlib import Path

from pyinfra import host, state
from pyinfra.api import QuoteString, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import clear_askpass_cache

from facts.host import HOSTS_TEMPLATE, MODULES, MODULES_FILE, TOLERATED_OFFSET, Host, HostState
from operations import turn
from operations.api import unseen
from operations.file import place, placing
from operations.known import PARTS, converges, known
from operations.reach import follow, identity, ssh
from operations.refusal import OnController, Refused
from operations.text import with_block

_FLAG = "cgroup_enable=memory"
_REBOOTING = "/run/pishelf-rebooting"
_BACK_WITHIN = 300  # seconds; a Pi with a slow card takes two minutes
_PATIENCE = 60


@converges(Host)
def named(hostname: str, nodes: Mapping[str, str]) -> Generator[PyinfraCommand, None, None]:
    """Give the host its name, and have it find itself and the cluster's other nodes by theirs.

    Args:
        nodes: address by name, of all nodes; without any, what an earlier run wrote of them goes.
    """
    state = known(Host)
    others = {name: address for name, address in nodes.items() if name != hostname}
    hosts_file = _hosts_file(state.hosts_file, hostname, others)
    template = _hosts_file(state.hosts_template, hostname, others) if state.hosts_template else ""
    if (state.hostname, state.hosts_file, state.hosts_template) == (hostname, hosts_file, template):
        host.noop("already has its name, and knows the others")
        return
    if state.hosts_file != hosts_file:
        content = f"{hosts_file}\n"
        # Where it is a mount of its own, as in a container, nothing can be renamed onto it.
        yield StringCommand(
            f"if mountpoint -q /etc/hosts; then printf %s {shlex.quote(content)} > /etc/hosts;"
            f" else {placing('/etc/hosts', content)}; fi"
        )
    if state.hosts_template != template:
        yield place(HOSTS_TEMPLATE, template + "\n")
    if state.hostname != hostname:
        yield StringCommand("hostnamectl set-hostname", QuoteString(hostname))


def _hosts_file(text: str, hostname: str, others: Mapping[str, str]) -> str:
    """A hosts file in which 127.0.1.1 is the host itself, and in a block of ours the others are.

    Source: Debian reference, 5.1.1.
    """
    own = f"127.0.1.1\t{hostname}"
    lines = text.splitlines()
    at = [number for number, line in enumerate(lines) if re.match(r"127\.0\.1\.1\s", line)]
    lines = [own if number == at[0] else line for number, line in enumerate(lines) if number not in at[1:]]
    named = "\n".join(lines if at else [*lines, own])
    return with_block(named, [f"{address}\t{name}" for name, address in sorted(others.items())])


@converges(Host)
def on_time() -> Generator[PyinfraCommand, None, None]:
    """Have the clock kept right, and refuse to go on with a wrong one: certificates would not be valid."""
    state = known(Host)
    clock = state.clock
    if not clock.keeps and clock.can_keep:
        yield StringCommand("timedatectl set-ntp true")
    if not clock.keeps and abs(clock.offset) > TOLERATED_OFFSET:
        yield StringCommand(
            f"for second in $(seq {_PATIENCE}); do"
            " timedatectl show -p NTPSynchronized --value | grep -qx yes && break; sleep 1; done"
        )
        clock = known(Host).clock
    if abs(clock.offset) > TOLERATED_OFFSET:
        why = (
            "It is kept by a time server, so look at this computer's first (`timedatectl`)"
            if clock.keeps
            else f"No time server has set it within {_PATIENCE} s: let it reach one (`timedatectl timesync-status` on"
            f" {host.name} says more, time_servers in group_data/all.py names others)"
        )
        raise Refused(
            f"the clock is {clock.offset:+.0f} s off this computer's, so certificates would not be valid. {why};"
            " then run again"
        )


@converges(Host)
def modules_left() -> Generator[PyinfraCommand, None, None]:
    """Load no kernel modules at boot any more; those that are loaded stay until then."""
    if not known(Host).loaded_at_boot:
        host.noop("loads none of ours")
        return
    yield StringCommand(f"rm -f {MODULES_FILE}")


@converges(Host)
def modules_loaded() -> Generator[PyinfraCommand, None, None]:
    """Load the kernel modules that the engine needs, now and at each boot, as far as the kernel has them."""
    state = known(Host)
    before = state.loaded_at_boot.split()
    # A kernel that was upgraded and does not run yet has no modules to show: what was there once stays listed.
    wanted = [name for name in MODULES if name in state.modules or name in before]
    if wanted == before:
        host.noop("loaded at boot")
        return
    yield place(MODULES_FILE, "".join(f"{name}\n" for name in wanted))
    # One that cannot be loaded now, as in a container, is the doctor's to name: the engine tries again by itself.
    yield StringCommand(f"for name in {' '.join(wanted)}; do modprobe --quiet $name || true; done")


@converges(Host)
def memory_cgroup() -> Generator[PyinfraCommand, None, None]:
    """Have the kernel count memory, which a Raspberry Pi's firmware turns off.

    Without it a service's memory limit is silently ignored. Source: RPi-Distro/pi-gen#917.
    """
    state = known(Host)
    if not lacks_flag(state):
        host.noop("memory is counted, or its flag is set")
        return
    yield place(state.cmdline_path, with_flag(state.cmdline) + "\n", mode="755")


def lacks_flag(state: HostState) -> bool:
    """Whether the kernel does not count memory, and its command line is a file in which it was not asked to yet.

    A file that is empty, or could not be read, stays: what would be written has no `root=`, and the Pi would not start.
    """
    words = state.cmdline.split()
    return not state.memory_cgroup and bool(state.cmdline_path) and bool(words) and _FLAG not in words


def with_flag(cmdline: str) -> str:
    """The kernel's command line with the flag at its end, where it wins; the firmware reads the first line only."""
    first, *rest = cmdline.split("\n")
    return "\n".join([f"{first.rstrip()} {_FLAG}".lstrip(), *rest])


def needs_reboot(state: HostState) -> bool:
    """Whether a flag that the command line has is not yet the running kernel's, which does not count memory."""
    return not state.memory_cgroup and _FLAG in state.cmdline.split() and _FLAG not in state.booted_with.split()


@converges(*PARTS, everywhere=True)
def rebooted(folder: Path) -> Generator[PyinfraCommand, None, None]:
    """Reboot a host whose kernel has to start anew, and wait until it is back, in its swarm, too.

    Run it `_serial`: then the next host starts only after that.

    Args:
        folder: the cluster's, which keeps the key that a locked manager asks for.
    """
    if not needs_reboot(known(Host)):
        host.noop("runs with its command line")
        return
    yield from turn.taken("rebooting, so that the kernel counts memory", folder, _reboot)


def _reboot() -> Generator[PyinfraCommand, None, turn.Outcome]:
    yield OnController("rebooting", _restart)
    in_vain = state.is_executing and not known(Host).memory_cgroup
    return turn.Outcome(
        f"its kernel still does not count memory, although it was started with {_FLAG}; upgrade it" if in_vain else "",
        runs=True,
    )


def _restart() -> None:
    who, address = identity(host), ssh(host).at
    # The mark goes with /run. The uptime would not do: in a container it is another machine's.
    done, said = unseen(
        host,
        StringCommand(f"touch {_REBOOTING} && systemd-run --quiet --collect --on-active=1 systemctl reboot"),
    )
    if not done:
        raise ValueError(said)
    if not follow(host, {address: f"! test -e {_REBOOTING}"}, who, _BACK_WITHIN):
        raise ValueError(
            f"it is not back at {address} after {_BACK_WITHIN} s; look at its power and its card, then run again"
        )
    clear_askpass_cache(host)  # what pyinfra left in /tmp for sudo is gone
