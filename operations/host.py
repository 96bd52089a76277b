"""How a host gets its name, the right time and its memory limits."""

from __future__ import annotations

import re
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.operations import server

from facts.host import Host
from operations.file import place
from operations.known import PARTS, converges, known
from operations.refusal import Refused

_FLAG = "cgroup_enable=memory"
# Certificates are backdated by an hour; a clock further off than this is not the network's delay.
_TOLERATED = 60.0
_PATIENCE = 60


@converges(Host)
def named(hostname: str) -> Generator[PyinfraCommand, None, None]:
    """Give the host its name, and resolve that name on the host itself."""
    state = known(Host)
    hosts_file = _with_own_name(state.hosts_file, hostname)
    if state.hostname == hostname and state.hosts_file == hosts_file:
        host.noop("already has its name")
        return
    if state.hosts_file != hosts_file:
        # In place: where /etc/hosts is a mount of its own, as in a container, it cannot be replaced.
        yield StringCommand("printf '%s\\n'", QuoteString(hosts_file), "> /etc/hosts")
    if state.hostname != hostname:
        yield StringCommand("hostnamectl set-hostname", QuoteString(hostname))


def _with_own_name(hosts_file: str, name: str) -> str:
    """A hosts file in which 127.0.1.1 is `name`, Debian's way; source: Debian reference, 5.1.1."""
    own = f"127.0.1.1\t{name}"
    lines = hosts_file.splitlines()
    at = [number for number, line in enumerate(lines) if re.match(r"127\.0\.1\.1\s", line)]
    if not at:
        return "\n".join([*lines, own])
    return "\n".join(own if number == at[0] else line for number, line in enumerate(lines) if number not in at[1:])


@converges(Host)
def on_time() -> Generator[PyinfraCommand, None, None]:
    """Have the clock kept right, and refuse to go on with a wrong one: certificates would not be valid."""
    state = known(Host)
    clock = state.clock
    if not clock.keeps and clock.can_keep:
        yield StringCommand("timedatectl set-ntp true")
    if not clock.keeps and abs(clock.offset) > _TOLERATED:
        yield StringCommand(
            f"for second in $(seq {_PATIENCE}); do"
            " timedatectl show -p NTPSynchronized --value | grep -qx yes && break; sleep 1; done"
        )
        clock = known(Host).clock
    if abs(clock.offset) > _TOLERATED:
        raise Refused(
            f"the clock is {clock.offset:+.0f} s off this computer's, so certificates would not be valid;"
            " look at `timedatectl` on both, then run again"
        )


@converges(Host)
def memory_cgroup() -> Generator[PyinfraCommand, None, None]:
    """Have the kernel count memory, which a Raspberry Pi's firmware turns off.

    Without it a service's memory limit is silently ignored. Source: RPi-Distro/pi-gen#917.
    """
    state = known(Host)
    if state.memory_cgroup or not state.cmdline_path or _FLAG in state.cmdline.split():
        host.noop("memory is counted, or its flag is set")
        return
    yield place(state.cmdline_path, f"{state.cmdline} {_FLAG}\n", mode="755")


@converges(*PARTS)
def rebooted() -> Generator[PyinfraCommand, None, None]:
    """Reboot a host whose kernel does not yet run with the flag that its command line has."""
    state = known(Host)
    if state.memory_cgroup or _FLAG not in state.cmdline.split() or _FLAG in state.booted_with.split():
        host.noop("runs with its command line")
        return
    yield from server.reboot._inner(delay=5, reboot_timeout=300)
