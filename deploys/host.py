"""What a host needs before it gets an engine."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from operations import host as hosts


@deploy("Host")
def prepare() -> None:
    """Name, clock and memory limits; a reboot where the kernel has to start anew."""
    hosts.named(name="Name the host", hostname=host.name)
    hosts.on_time(name="Keep the clock right")
    hosts.memory_cgroup(name="Count memory")
    hosts.rebooted(name="Reboot where the kernel needs it", _serial=True)
