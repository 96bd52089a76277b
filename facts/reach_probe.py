"""Runs on all hosts of a cluster at the same moment, and finds out who reaches whom.

Each host connects to the others' TCP ports, and sends the others datagrams which these see on a raw socket: it
gets all that the host's own firewall lets in, whether or not a program listens. What a port's own program
receives is nothing that it understands. Standard library only, and of that only what `python3-minimal` has.

Called with a JSON object: `token` (marks this run's datagrams), `me`, `seconds`, `listen` (TCP ports that are
opened here for the time, unless a program has them), `peers` (by name: `address`, `tcp` ports, `udp` addresses
with ports).
"""

from __future__ import annotations

import contextlib
import errno
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

_TICK = 0.3
_HEADER = 8  # bytes of UDP's own


class Probe:
    """One host's part."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.peers: dict[str, dict[str, Any]] = plan["peers"]
        self.heard: set[tuple[str, int]] = set()
        self.satisfied: set[str] = set()
        self.reached: set[tuple[str, int]] = set()
        self.pending: dict[socket.socket, tuple[str, int]] = {}
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
        self.raw.setblocking(False)
        self.doors = [door for port in plan["listen"] if (door := _door(port))]

    def run(self) -> None:
        """Until all have reached all, or the time is up."""
        end = time.monotonic() + self.plan["seconds"]
        while time.monotonic() < end:
            self.send()
            self.connect()
            self.listen(min(end, time.monotonic() + _TICK))
            if self.content() and self.satisfied == set(self.peers):
                self.send()  # who has not heard yet that we are content would wait for us
                break

    def content(self) -> bool:
        """Whether this host heard all others on all ports and reached all of theirs."""
        heard = {(name, port) for name, peer in self.peers.items() for _, port in peer["udp"]}
        reached = {(name, port) for name, peer in self.peers.items() for port in peer["tcp"]}
        return self.heard == heard and self.reached == reached

    def send(self) -> None:
        words = [self.plan["token"], self.plan["me"], "content" if self.content() else "waiting"]  # see `read`
        for peer in self.peers.values():
            for address, port in peer["udp"]:
                with contextlib.suppress(OSError):  # no route, or a rule of this host: the other hears nothing
                    self.out.sendto(" ".join(words).encode(), (address, port))

    def connect(self) -> None:
        for name, peer in self.peers.items():
            for port in peer["tcp"]:
                if (name, port) not in self.reached and (name, port) not in self.pending.values():
                    attempt = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                    attempt.setblocking(False)
                    if attempt.connect_ex((peer["address"], port)) in (0, errno.EINPROGRESS):
                        self.pending[attempt] = (name, port)
                    else:  # no route: tried again a moment later
                        attempt.close()

    def listen(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            readable, writable, _ = select.select([self.raw], list(self.pending), [], left)
            for attempt in writable:
                if attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    self.reached.add(self.pending[attempt])
                del self.pending[attempt]
                attempt.close()
            if readable and (said := read(self.raw.recv(256), self.plan["token"])):
                name, port, content = said
                if name in self.peers:
                    self.heard.add((name, port))
                    self.satisfied |= {name} if content else set()


def read(packet: bytes, token: str) -> tuple[str, int, bool] | None:
    """Who sent a datagram of this run, to which port, and whether it is content; None for all other traffic."""
    start = (packet[0] & 15) * 4 if packet else 0  # the IP header says its own length
    port = int.from_bytes(packet[start + 2 : start + 4], "big")
    words = packet[start + _HEADER :].decode(errors="replace").split(" ")
    if len(words) != 3 or words[0] != token:
        return None
    return words[1], port, words[2] == "content"


def _door(port: int) -> socket.socket | None:
    """Open a port on all addresses; None where a program has it already."""
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("", port))
        door.listen(64)
    except OSError:
        door.close()
        return None
    return door


def main(argument: str, say: Callable[[str], object]) -> None:
    """Print what was found, as JSON."""
    try:
        probe = Probe(json.loads(argument))
        probe.run()
    except OSError as error:
        say(json.dumps({"error": str(error)}))
        return
    say(json.dumps({"reached": sorted(probe.reached), "heard": sorted(probe.heard)}))


if __name__ == "__main__":
    main(sys.argv[1], lambda text: sys.stdout.write(text + "\n"))
