"""Processor time: of a virtual Pi, and of the programs that this process starts.

A node is a container, so the kernel counts its processor time in a control group, from which it is read here
without a program in the node.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from image.errors import UserError
from lab import engine

_CGROUPS = Path("/sys/fs/cgroup")
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PATIENCE = 5.0  # seconds until a program that was asked to end is ended


@dataclass(frozen=True)
class Meter:
    """The kernel's counters of some nodes."""

    counters: tuple[Path, ...]

    @classmethod
    def of(cls, containers: Iterable[str]) -> Self:
        """Find the counters of running containers."""
        client = engine.connect()
        pids = [client.containers.get(name).attrs["State"]["Pid"] for name in containers]
        texts = [Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8") for pid in pids]
        return cls(tuple(_CGROUPS / counter(text) for text in texts))

    def read(self) -> tuple[float, ...]:
        """Seconds of processor time that each node has used since it was made."""
        try:
            return tuple(seconds(path.name, path.read_text(encoding="ascii")) for path in self.counters)
        except OSError as error:
            raise UserError(
                f"a node's processor time cannot be read: {error}", "run on the engine's own machine"
            ) from None


def counter(cgroup: str) -> Path:
    """Where the group of a container's first process counts, below /sys/fs/cgroup.

    Args:
        cgroup: /proc/PID/cgroup, as the engine's machine sees it; source: cgroups(7).
    """
    groups = dict(line.split(":", 2)[1:] for line in cgroup.splitlines())
    for controllers, path in groups.items():
        if "cpuacct" in controllers.split(","):
            return Path("cpuacct", _whole(path), "cpuacct.usage")
    return Path(_whole(groups[""]), "cpu.stat")


def _whole(path: str) -> str:
    """The node's group, where systemd inside has put its first process into one below."""
    return path.strip("/").removesuffix("/init.scope")


def seconds(name: str, text: str) -> float:
    """A counter's content in seconds: nanoseconds in `cpuacct.usage`, microseconds in `cpu.stat`."""
    if name == "cpuacct.usage":
        return int(text) / 1e9
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


def adopt_orphans() -> None:
    """Become the parent of what our programs leave running, such as ssh's kept connections: it counts, too."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """End what programs of ours left running, so that the next run starts without it."""
    end = monotonic() + _PATIENCE
    # What they started becomes ours when they end, so we look again.
    while left := [pid for pid in _children() if os.waitpid(pid, os.WNOHANG)[0] == 0]:
        for pid in left:
            os.kill(pid, signal.SIGTERM if monotonic() < end else signal.SIGKILL)
        sleep(0.02)


def _children() -> list[int]:
    """The processes whose parent we are."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has just ended
            continue
        if f"\nPPid:\t{os.getpid()}\n" in text:
            found.append(int(status.parent.name))
    return found


def of_children() -> float:
    """Seconds of processor time of all programs that have ended and that we, or what we started, waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
