"""Why a host cannot join a swarm, in words for a person."""

from __future__ import annotations

from pyinfra.api import Host, StringCommand

from facts.host import TOLERATED_OFFSET
from facts.host import Host as HostFact
from facts.swarm import GOSSIP_PORT, SWARM_PORT, Swarm
from operations.api import unseen
from operations.known import known
from operations.refusal import Refused


def why_not(joining: Host, manager: Host) -> str:
    """What stands between a host that cannot join and the manager that it asked."""
    reasons = [
        *(
            f"TCP {port} of {there.name} ({there.data.address}) cannot be reached from {here.name}:"
            " a firewall, another network or a wrong address"
            for here, there, port in ((joining, manager, SWARM_PORT), (joining, manager, GOSSIP_PORT))
            if not _reaches(here, there, port)
        ),
        *_clocks(joining, manager),
        *_versions(joining, manager),
    ]
    look = "pyinfra INVENTORY deploys/doctor.py looks at the UDP ports 7946 and 4789, too"
    return "; ".join([*reasons, look])


def _reaches(here: Host, there: Host, port: int) -> bool:
    """Whether a TCP connection can be opened from one host to another."""
    done, _ = unseen(here, StringCommand(f"timeout 3 bash -c '</dev/tcp/{there.data.address}/{port}'"))
    return done


def _clocks(joining: Host, manager: Host) -> list[str]:
    try:
        apart = known(HostFact, of=joining).clock.offset - known(HostFact, of=manager).clock.offset
    except Refused:
        return []
    if abs(apart) < TOLERATED_OFFSET:
        return []
    return [f"the clocks of {joining.name} and {manager.name} are {apart:+.0f} s apart: look at `timedatectl` on both"]


def _versions(joining: Host, manager: Host) -> list[str]:
    try:
        mine, its = known(Swarm, of=joining).version, known(Swarm, of=manager).version
    except Refused:
        return []
    return [] if mine == its else [f"{joining.name} has engine {mine}, {manager.name} has {its}"]
