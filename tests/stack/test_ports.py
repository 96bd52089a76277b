"""What answers on the nodes' addresses: every TCP port, and the swarm's UDP ports, from outside and from a node."""

from __future__ import annotations

import errno
import json
import selectors
import socket
import ssl
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import cast

import pytest

from tests.commands import Lab, ask, command

PIS = ("pi1", "pi2", "pi3")
EVERYWHERE = {22, 443, 2376}
REGISTRY = 5000
AMONG_NODES = {2377, 7946}
UDP = (4789, 7946)
# Connections that are begun at a time: fewer than a process may have files open.
AT_ONCE = 500
# A dropped packet is answered by nothing; so long a node may take to answer one that is not.
PATIENCE = 3.0

KNOCK = f"""
import socket, sys
udp = socket.socket(type=socket.SOCK_DGRAM)
for port in {UDP}:
    udp.sendto(b"knock", (sys.argv[1], port))
"""
CONNECT = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), 3).close()
    except OSError:
        continue
    print(port)
"""


def knock(address: str, ports: Iterable[int], patience: float) -> tuple[set[int], set[int]]:
    """The TCP ports that take a connection, and those that say nothing although nothing else said anything either."""
    found: set[int] = set()
    with selectors.DefaultSelector() as waiting, ExitStack() as stack:
        for port in ports:
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            if one.connect_ex((address, port)) == errno.EINPROGRESS:
                waiting.register(one, selectors.EVENT_WRITE, port)
        while waiting.get_map() and (events := waiting.select(patience)):
            for key, _ in events:
                one = cast("socket.socket", key.fileobj)
                waiting.unregister(one)
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(key.data)
        return found, {key.data for key in waiting.get_map().values()}


def opened(address: str) -> set[int]:
    """The TCP ports that take a connection from this machine; whoever said nothing is asked twice."""
    found, silent = set[int](), set[int]()
    for first in range(1, 65536, AT_ONCE):
        some, none = knock(address, range(first, min(first + AT_ONCE, 65536)), PATIENCE)
        found |= some
        silent |= none
    return found | knock(address, silent, 2 * PATIENCE)[0]


def test_the_scan_sees_a_port_that_is_open(stack: Lab) -> None:
    """On a node, so that what is compared below is worth comparing."""
    script = "import socket, time; s = socket.create_server(('', 40404)); print('on', flush=True); time.sleep(60)"
    stack.on("pi2", "systemd-run", "--unit", "open-port", "python3", "-c", script).ok()
    try:
        assert 40404 in opened(stack.address("pi2"))
    finally:
        stack.on("pi2", "systemctl", "stop", "open-port").ok()


@pytest.mark.parametrize("pi", PIS)
def test_from_outside_exactly_the_ports_that_are_meant_to_answer_do(stack: Lab, pi: str) -> None:
    registry = {REGISTRY} if pi == registry_node(stack) else set()
    assert opened(stack.address(pi)) == EVERYWHERE | registry


def registry_node(lab: Lab) -> str:
    """The node with the label, as docker says."""
    (found,) = lab.docker("node", "ls", "--filter", "node.label=registry", "--format", "{{.Hostname}}").ok().split()
    return found


def test_the_swarms_own_ports_answer_a_node(stack: Lab) -> None:
    for source, target, ports in (("pi2", "pi1", AMONG_NODES), ("pi1", "pi2", {7946}), ("pi2", "pi3", {7946})):
        words = ("python3", "-c", CONNECT, stack.address(target), *map(str, sorted(AMONG_NODES)))
        assert {int(port) for port in stack.on(source, *words).ok().split()} == ports, (source, target)


def counted(lab: Lab, pi: str) -> dict[str, int]:
    listed = json.loads(lab.on(pi, "nft", "--json", "list", "counters", "table", "inet", "knocked").ok())
    found = [entry["counter"] for entry in listed["nftables"] if "counter" in entry]
    return {one["name"]: one["packets"] for one in found}


@pytest.mark.parametrize("pi", PIS)
def test_the_swarms_udp_ports_hear_a_node_and_nobody_outside(stack: Lab, pi: str) -> None:
    """Counted on the target, in a chain that comes after all others: UDP does not answer."""
    node = "pi1" if pi != "pi1" else "pi2"
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect((stack.address(pi), 9))
        outside = probe.getsockname()[0]
    names = {f"{who}{port}": (source, port) for who, source in (("outside", outside), ("node", stack.address(node)))
             for port in UDP}  # fmt: skip
    counters = "\n".join(f"counter {name} {{}}" for name in names)
    rules = "\n".join(
        f"ip saddr {source} udp dport {port} counter name {name}" for name, (source, port) in names.items()
    )
    chain = f"chain last {{\ntype filter hook input priority 300; policy accept;\n{rules}\n}}"
    stack.on(pi, "sh", "-c", f"nft -f - <<'END'\ntable inet knocked {{\n{counters}\n{chain}\n}}\nEND").ok()
    try:
        command(sys.executable, "-c", KNOCK, stack.address(pi)).ok()
        stack.on(node, "python3", "-c", KNOCK, stack.address(pi)).ok()
        heard = {name for name, packets in counted(stack, pi).items() if packets}
        assert heard == {"node4789", "node7946"}
    finally:
        stack.on(pi, "nft", "delete", "table", "inet", "knocked").ok()


def test_what_answers_lets_nobody_in_who_has_neither_password_nor_certificate(stack: Lab) -> None:
    ca = stack.folder / "ca.pem"
    for pi in PIS:
        assert ask(stack.address(pi), "/", ca=ca).status == 401
        with pytest.raises(ssl.SSLError, match="certificate required"):
            ask(stack.address(pi), "/version", ca=ca, port=2376)
    registry = registry_node(stack)
    assert ask(stack.address(registry), "/v2/_catalog", ca=ca, port=REGISTRY).status == 401


@pytest.mark.parametrize("port", [443, 2376, REGISTRY])
def test_none_of_them_speaks_without_tls(stack: Lab, port: int) -> None:
    connection = HTTPConnection(stack.address(registry_node(stack)), port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 400
    assert b"HTTPS server" in answer.read()
