"""What a host's kernel can do, found out by trying; and which system it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from facts.part import Part

# Never brought up, so nobody else sees it. A number far above those that a swarm counts up from 4096, and another
# port than its own, so that it is in no one's way.
_VXLAN = "id $((16000000 + $$ % 700000)) dstport 4790"


@dataclass(frozen=True)
class KernelState:
    """The system, and the kernel's parts that a swarm needs."""

    system: str
    """What it calls itself, e.g. `Debian GNU/Linux 13 (trixie)`."""
    family: tuple[str, ...]
    """Its ID and what it descends from, e.g. `ubuntu debian`."""
    release: str
    """E.g. `13`; empty where a system has no releases."""
    unified: bool
    """Whether all its control groups are of version 2."""
    controllers: frozenset[str]
    overlay: bool
    """Whether it knows the overlay file system, on which images are stacked."""
    links: frozenset[str] | None
    """Which of vxlan, bridge and veth could really be made; None where that could not be tried."""
    iptables: str
    """Which kind `iptables` is, `nf_tables` or `legacy`; empty where there is none."""
    nft_rules: int
    """Rules of the kind nf_tables, to which the kind legacy is blind."""


class Kernel(Part[KernelState]):
    """Reads `KernelState`; the links that it makes are removed at once."""

    questions: ClassVar[Mapping[str, str]] = {
        "system": "cat /etc/os-release",
        "cgroup": "stat -f -c %T /sys/fs/cgroup",
        "controllers": "cat /sys/fs/cgroup/cgroup.controllers || ls /sys/fs/cgroup",
        "overlay": "modprobe overlay; grep -w overlay /proc/filesystems",
        "links": f'command -v ip && for kind in "vxlan {_VXLAN}" bridge veth; do'
        " if ip link add doctor$$ type $kind; then ip link delete doctor$$; echo made $kind; fi; done",
        "iptables": "iptables --version",
        "nft": "iptables-nft-save | grep -c '^-A'",
    }

    def parse(self, found: Mapping[str, str]) -> KernelState:
        system = dict(line.split("=", 1) for line in found["system"].splitlines() if "=" in line)
        words = {name: value.strip().strip("\"'") for name, value in system.items()}
        return KernelState(
            system=words.get("PRETTY_NAME", ""),
            family=tuple(f"{words.get('ID', '')} {words.get('ID_LIKE', '')}".split()),
            release=words.get("VERSION_ID", ""),
            unified=found["cgroup"].strip() == "cgroup2fs",
            controllers=frozenset(found["controllers"].replace(",", " ").split()),
            overlay=bool(found["overlay"].strip()),
            links=_made(found["links"]) if found["links"].strip() else None,
            iptables="nf_tables" if "nf_tables" in found["iptables"] else "legacy" if found["iptables"].strip() else "",
            nft_rules=int(found["nft"] or 0),
        )


def _made(text: str) -> frozenset[str]:
    return frozenset(words[1] for line in text.splitlines() if (words := line.split())[:1] == ["made"])
