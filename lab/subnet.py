"""Which /24 a lab lives in."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network

from image.errors import UserError
from lab.spec import DEFAULT_NAME

# RFC 2544 keeps this range for tests, so it is no one's home LAN.
RANGE = IPv4Network("198.18.0.0/15")
_NO_MASK = "0.0.0.0"  # noqa: S104 - the default route, nothing listens here


def choose(name: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The /24 for a new lab: the first for the default lab, the first free one for others.

    Raises:
        UserError: every /24 of the range is taken.
    """
    taken = list(taken)
    first, *others = RANGE.subnets(new_prefix=24)
    # Others leave the first alone while they can: README and habit expect the default lab there.
    candidates = [first, *others] if name == DEFAULT_NAME else [*others, first]
    for candidate in candidates:
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise UserError(
        f"no free /24 in {RANGE} for lab {name!r}: the engine's networks and this machine's routes cover it",
        "remove labs that you no longer need: make clean in their clones",
    )


def parse_routes(table: str) -> list[IPv4Network]:
    """Networks of /proc/net/route, without the default route (which covers everything)."""
    routes = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, mask = (_address(fields[column]) for column in (1, 7))
        if mask != _NO_MASK:
            routes.append(IPv4Network((destination, mask), strict=False))
    return routes


def _address(field: str) -> str:
    """The kernel prints addresses in hexadecimal and host byte order."""
    return socket.inet_ntoa(struct.pack("=L", int(field, 16)))
