"""Who gets in to a virtual Pi's swarm ports: packets that are really sent, from outside, from a node, from a stranger.

What got in is counted on the target by a table of the test's own, in a chain that comes after all others. That
table is also somebody else's: it has to stay as it was.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands import Lab, command, nothing_proposed, until

TCP, UDP = (2376, 2377, 7946), (4789, 7946)
ALL = {"tcp2376", "tcp2377", "tcp7946", "udp4789", "udp7946"}
API = {"tcp2376"}
TARGET = "pi1"
# Plain sockets: a node's Python has no more than that.
KNOCK = f"""
import socket, sys, time
address = sys.argv[1]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
open_ = [socket.socket(family) for _ in {TCP}]
for one, port in zip(open_, {TCP}):
    one.setblocking(False)
    one.connect_ex((address, port))
udp = socket.socket(family, socket.SOCK_DGRAM)
for port in {UDP}:
    udp.sendto(b"knock", (address, port))
time.sleep(0.5)
"""

Inventory = Callable[..., str]


@pytest.fixture(scope="module")
def inventory(swarm: Lab, tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """Writes the lab's own inventory, with these settings for all hosts."""

    def write(**settings: object) -> str:
        path = tmp_path_factory.mktemp("inventory") / "inventory.py"
        path.write_text(
            f"from lab.hosts import groups as _groups\n_managers, _workers = _groups({swarm.name!r})\n"
            f"managers = [(name, {{**data, **{settings!r}}}) for name, data in _managers]\n"
            f"workers = [(name, {{**data, **{settings!r}}}) for name, data in _workers]\n"
        )
        return str(path)

    return write


@pytest.fixture
def restored(swarm: Lab) -> Iterator[None]:
    """Ends with the lab as its own inventory makes it."""
    yield
    swarm.provision().ok()


@pytest.fixture(scope="module")
def stranger(swarm: Lab) -> Iterator[str]:
    """A machine on the nodes' network that is in no inventory."""
    name, node = f"{swarm.name}-stranger", f"{swarm.name}-{TARGET}"
    image = command("docker", "inspect", "--format", "{{.Config.Image}}", node).ok().strip()
    command("docker", "rm", "--force", name)
    command(
        "docker", "run", "--detach", "--name", name, "--network", swarm.name, "--entrypoint", "sleep", image, "1800"
    ).ok()  # fmt: skip
    yield name
    command("docker", "rm", "--force", name).ok()


def address_of(container: str) -> str:
    (network,) = json.loads(command("docker", "inspect", container).ok())[0]["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def gateway(lab: Lab) -> str:
    """This machine's address on the nodes' network, by the route that it takes."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect((lab.address(TARGET), 9))
        return str(probe.getsockname()[0])


def witness(lab: Lab, names: set[str], rules: str) -> None:
    """Count on the target what comes through all other rules, from zero."""
    counters = "\n".join(f"counter {name} {{}}" for name in sorted(names))
    chain = f"chain last {{\ntype filter hook input priority 300; policy accept;\n{rules}\n}}"
    table = f"table inet witness\ndelete table inet witness\ntable inet witness {{\n{counters}\n{chain}\n}}"
    lab.on(TARGET, "sh", "-c", f"nft -f - <<'END'\n{table}\nEND").ok()


def counted(lab: Lab) -> dict[str, int]:
    """How many packets each of the witness' counters has seen."""
    listed = json.loads(lab.on(TARGET, "nft", "--json", "list", "counters", "table", "inet", "witness").ok())
    counters = [entry["counter"] for entry in listed["nftables"] if "counter" in entry]
    return {counter["name"]: counter["packets"] for counter in counters}


def got_in(lab: Lab, source: str, knock: Callable[[], object]) -> set[str]:
    """Which of the swarm's ports on the target packets of `source` reach while it knocks."""
    family = "ip6" if ":" in source else "ip"
    rules = [
        f"{family} saddr {source} {proto} dport {port} counter name {proto}{port}"
        for proto, ports in (("tcp", TCP), ("udp", UDP))
        for port in ports
    ]
    witness(lab, ALL, "\n".join(rules))
    knock()
    return {name for name, packets in counted(lab).items() if packets}


def from_outside(lab: Lab) -> set[str]:
    """What gets in from this machine."""
    return got_in(lab, gateway(lab), lambda: command(sys.executable, "-c", KNOCK, lab.address(TARGET)).ok())


def from_container(lab: Lab, name: str) -> set[str]:
    """What gets in from a container on the nodes' network; `python3` there is the node's own."""
    knock = ("docker", "exec", name, "python3", "-c", KNOCK, lab.address(TARGET))
    return got_in(lab, address_of(name), lambda: command(*knock).ok())


def from_node(lab: Lab, node: str) -> set[str]:
    return from_container(lab, f"{lab.name}-{node}")


def closed(lab: Lab, stranger: str) -> bool:
    """Whether nodes get in everywhere, and strangers to the engine's API alone."""
    return (from_node(lab, "pi2"), from_outside(lab), from_container(lab, stranger)) == (ALL, API, API)


def foreign_rules(lab: Lab, node: str) -> str:
    """Everybody else's rules, without counters."""
    tables = [line.split()[1:] for line in lab.on(node, "nft", "list", "tables").ok().splitlines()]
    others = [table for table in tables if table[1] not in ("pishelf", "witness")]
    return "".join(lab.on(node, "nft", "--stateless", "list", "table", *table).ok() for table in others)


def ours(lab: Lab, node: str) -> list[str]:
    """What of the firewall is on a node: the table, and files by our name but those of the daemon that measures."""
    tables = lab.on(node, "nft", "list", "tables").ok()
    named = ("-name", "*pishelf*", "!", "-name", "*pishelf-metrics*", "-o", "-name", "nftables.service.d")
    files = lab.on(node, "find", "/etc", "/run", *named).ok()
    return [found for found in (tables + files).splitlines() if "pishelf" in found or "nftables" in found]


def reboot(lab: Lab, node: str) -> None:
    """Start a node anew. What others had in tables that were flushed, Docker's and the lab's own, is back then."""
    lab.reboot(node)
    until(lambda: lab.docker("node", "ls", "--format", "{{.Status}}").stdout.split() == ["Ready"] * 3, seconds=120)


def test_the_swarms_ports_let_in_its_nodes_and_nobody_else(swarm: Lab, stranger: str) -> None:
    assert from_node(swarm, "pi2") == ALL
    assert from_outside(swarm) == API
    assert from_container(swarm, stranger) == API


def test_only_the_named_networks_may_ask_for_the_engines_api(
    swarm: Lab, inventory: Inventory, stranger: str, restored: None
) -> None:
    swarm.pyinfra("-y", inventory(api_networks=[f"{gateway(swarm)}/32"]), "deploys/swarm.py").ok()
    assert from_outside(swarm) == API
    assert from_container(swarm, stranger) == set()
    assert from_node(swarm, "pi2") == ALL


def test_no_way_leads_in_over_ipv6_which_the_swarm_does_not_use(swarm: Lab) -> None:
    target, node = "fd00:5::1", "fd00:5::2"
    switch = "echo {} > /proc/sys/net/ipv6/conf/eth0/disable_ipv6"
    knock = ("docker", "exec", f"{swarm.name}-pi2", "python3", "-c", KNOCK, target)
    for pi, address in ((TARGET, target), ("pi2", node)):
        swarm.on(pi, "sh", "-c", f"{switch.format(0)} && ip address add {address}/64 dev eth0 nodad").ok()
    assert got_in(swarm, node, lambda: command(*knock).ok()) == set()
    swarm.on(TARGET, "systemctl", "stop", "pishelf-firewall").ok()
    assert got_in(swarm, node, lambda: command(*knock).ok()) == ALL
    swarm.on(TARGET, "systemctl", "start", "pishelf-firewall").ok()
    for pi in (TARGET, "pi2"):
        swarm.on(pi, "sh", "-c", switch.format(1)).ok()


@pytest.mark.parametrize("unit", ["docker", "pishelf-firewall"])
def test_it_stays_closed_when_a_service_restarts(swarm: Lab, stranger: str, unit: str) -> None:
    swarm.on(TARGET, "systemctl", "restart", unit).ok()
    assert closed(swarm, stranger)
    assert nothing_proposed(swarm.pyinfra("--dry", "lab/inventory.py", "deploys/swarm.py"))


def test_it_is_back_at_once_when_debians_own_service_flushes_all_tables(swarm: Lab, stranger: str) -> None:
    for verb in ("start", "reload", "restart", "stop"):
        swarm.on(TARGET, "systemctl", verb, "nftables").ok()
        assert closed(swarm, stranger), verb
    reboot(swarm, TARGET)
    assert nothing_proposed(swarm.pyinfra("--dry", "lab/inventory.py", "deploys/swarm.py"))


def test_who_stops_it_has_it_stopped(swarm: Lab, stranger: str) -> None:
    swarm.on(TARGET, "systemctl", "stop", "pishelf-firewall").ok()
    assert from_container(swarm, stranger) == ALL
    swarm.on(TARGET, "systemctl", "start", "nftables").ok()
    assert from_container(swarm, stranger) == ALL
    swarm.on(TARGET, "systemctl", "stop", "nftables").ok()
    reboot(swarm, TARGET)


def test_it_is_closed_before_the_engine_starts_again_after_a_reboot(swarm: Lab, stranger: str) -> None:
    reboot(swarm, TARGET)
    shown = swarm.on(TARGET, "systemctl", "show", "docker", "-p", "After").ok()
    assert "pishelf-firewall.service" in shown
    assert closed(swarm, stranger)


DAMAGES = [
    "nft delete table inet pishelf",
    "nft insert rule inet pishelf input udp dport 4789 accept",
    "nft add element inet pishelf nodes { 198.18.0.0 }",
    "systemctl disable pishelf-firewall",
    "rm /etc/pishelf/firewall.nft",
    "rm /etc/systemd/system/pishelf-firewall.service",
    "rm -r /etc/systemd/system/nftables.service.d",
    "systemctl stop pishelf-firewall",
    "nft flush ruleset",
]


def test_what_a_person_undid_is_made_good_by_the_next_run(swarm: Lab) -> None:
    def seen(node: str) -> str:
        return (
            swarm.on(node, "nft", "list", "table", "inet", "pishelf").said
            + swarm.on(node, "systemctl", "is-enabled", "pishelf-firewall").said
            + swarm.on(node, "sh", "-c", "cat /etc/pishelf/* /etc/systemd/system/*/pishelf*").said
        )

    before = {node: seen(node) for node in ("pi1", "pi2", "pi3")}
    assert len(set(before.values())) == 1
    for number in range(0, len(DAMAGES), 3):
        for node, damage in zip(before, DAMAGES[number : number + 3], strict=True):
            swarm.on(node, "sh", "-c", damage).ok()
        swarm.provision().ok()
        assert {node: seen(node) for node in before} == before, DAMAGES[number : number + 3]
    reboot(swarm, "pi3")


def test_one_setting_takes_away_exactly_what_is_ours(swarm: Lab, inventory: Inventory, stranger: str) -> None:
    swarm.on(TARGET, "nft", "add table inet others; add chain inet others c; add rule inet others c counter").ok()
    swarm.on(TARGET, "iptables", "-I", "INPUT", "-s", "203.0.113.7", "-j", "DROP").ok()
    before = foreign_rules(swarm, TARGET)
    swarm.pyinfra("-y", inventory(firewall=False), "deploys/swarm.py").ok()
    assert ours(swarm, TARGET) == []
    assert from_container(swarm, stranger) == ALL
    assert foreign_rules(swarm, TARGET) == before
    swarm.provision().ok()
    assert closed(swarm, stranger)
    assert foreign_rules(swarm, TARGET) == before
    swarm.on(TARGET, "iptables", "-D", "INPUT", "-s", "203.0.113.7", "-j", "DROP").ok()
    swarm.on(TARGET, "nft", "delete", "table", "inet", "others").ok()


FLOOD = """
import os, socket, sys, time
udp = socket.socket(type=socket.SOCK_DGRAM)
sent = 0
while not os.path.exists("/run/enough"):
    udp.sendto(b"x", (sys.argv[1], 4789))
    sent += 1
    time.sleep(0.001)
print(sent)
"""


def test_while_the_rules_change_no_packet_of_a_node_is_lost_and_none_of_a_stranger_gets_in(
    swarm: Lab, inventory: Inventory, stranger: str
) -> None:
    node = f"{swarm.name}-pi2"
    watch = "".join(
        f"ip saddr {address_of(one)} udp length 9 udp dport 4789 counter name {name}\n"
        for one, name in ((node, "node"), (stranger, "stranger"))
    )
    witness(swarm, {"node", "stranger"}, watch)
    for one in (node, stranger):
        command("docker", "exec", one, "rm", "-f", "/run/enough").ok()
    floods = [
        subprocess.Popen(
            ["docker", "exec", one, "python3", "-c", FLOOD, swarm.address(TARGET)], stdout=subprocess.PIPE, text=True
        )
        for one in (node, stranger)
    ]
    until(lambda: counted(swarm)["node"] > 0, seconds=120)
    swarm.pyinfra("-y", inventory(api_networks=["198.18.0.0/15"]), "deploys/swarm.py").ok()
    assert "198.18.0.0/15" in swarm.on(TARGET, "nft", "list", "table", "inet", "pishelf").ok()
    swarm.provision().ok()
    assert "198.18.0.0/15" not in swarm.on(TARGET, "nft", "list", "table", "inet", "pishelf").ok()
    for one in (node, stranger):
        command("docker", "exec", one, "touch", "/run/enough").ok()
    sent, unheard = (int(flood.communicate(timeout=60)[0]) for flood in floods)
    assert unheard > 0
    assert counted(swarm) == {"node": sent, "stranger": 0}


def test_a_computer_that_would_be_shut_out_is_refused_before_anything_changes(swarm: Lab, inventory: Inventory) -> None:
    swarm.on("pi3", "rm", "-rf", "/etc/docker/certs.d").ok()
    before = swarm.on(TARGET, "cat", "/etc/pishelf/firewall.nft").ok()
    said = swarm.pyinfra("-y", inventory(api_networks=["192.0.2.0/24"]), "deploys/swarm.py")
    said.refused(f"come from {gateway(swarm)}", f"api_networks = ['192.0.2.0/24', '{gateway(swarm)}/32']")
    assert swarm.on(TARGET, "cat", "/etc/pishelf/firewall.nft").ok() == before
    assert swarm.on("pi3", "test", "-e", "/etc/docker/certs.d").code != 0


def test_a_node_that_talks_from_another_address_than_its_own_is_refused_by_name(swarm: Lab, restored: None) -> None:
    subnet = swarm.address("pi2").rpartition(".")[0]
    swarm.on("pi2", "ip", "address", "add", f"{subnet}.250/24", "dev", "eth0").ok()
    swarm.on("pi2", "ip", "route", "change", f"{subnet}.0/24", "dev", "eth0", "src", f"{subnet}.250").ok()
    try:
        swarm.provision().refused("[pi2]", f"from {subnet}.250", "not its address in the inventory")
    finally:
        swarm.on("pi2", "ip", "route", "change", f"{subnet}.0/24", "dev", "eth0", "src", swarm.address("pi2")).ok()
        swarm.on("pi2", "ip", "address", "del", f"{subnet}.250/24", "dev", "eth0").ok()


def test_a_node_that_the_others_do_not_let_in_yet_is_told_before_anything_changes(
    swarm: Lab, tmp_path: Path, restored: None
) -> None:
    without = swarm.inventory(tmp_path, "managers = _managers\nworkers = _workers[:-1]")
    swarm.deploy("swarm", inventory=without).ok()
    swarm.on("pi3", "rm", "-rf", "/etc/docker/certs.d").ok()
    swarm.provision("--limit", "pi3").refused("[pi3]", "not yet let in by the firewall of pi1, pi2", "without --limit")
    assert swarm.on("pi3", "test", "-e", "/etc/docker/certs.d").code != 0


def test_a_kernel_that_cannot_filter_is_named_with_the_way_out(swarm: Lab, restored: None) -> None:
    """A stand-in for `nft` says what it says on a kernel without nf_tables."""
    fake = r"#!/bin/sh\necho Error: Could not process rule: Operation not supported >&2\nexit 1\n"
    path = "/usr/local/sbin/nft"
    swarm.on("pi3", "sh", "-c", f"nft delete table inet pishelf; printf '{fake}' > {path}; chmod +x {path}").ok()
    try:
        swarm.provision().refused("[pi3]", "Operation not supported", "cannot filter with nftables", "firewall = False")
    finally:
        swarm.on("pi3", "rm", path).ok()


def test_a_published_port_of_a_container_still_answers_strangers(swarm: Lab, stranger: str) -> None:
    serve = (
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die $!;"
        ' while (my $c = $s->accept) { print $c "HTTP/1.0 200 OK\\r\\n\\r\\nhello"; close $c }'
    )
    parts = "/usr/bin/perl /usr/lib/*/perl-base $(ldd /usr/bin/perl | grep -o '/[^ ]*')"
    swarm.on(TARGET, "sh", "-c", f"tar --create --dereference {parts} 2>/dev/null | docker import - published").ok()
    swarm.on(
        TARGET, "docker", "run", "--detach", "--name", "published", "--publish", "8088:80", "published",
        "/usr/bin/perl", "-e", serve,
    ).ok()  # fmt: skip
    ask = (
        "import socket, sys\ns = socket.create_connection((sys.argv[1], 8088), 5)\n"
        "s.settimeout(5)\ns.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\nprint(s.recv(1000).decode())"
    )
    try:
        until(lambda: "hello" in command(sys.executable, "-c", ask, swarm.address(TARGET)).stdout, seconds=120)
        assert "hello" in command("docker", "exec", stranger, "python3", "-c", ask, swarm.address(TARGET)).ok()
    finally:
        swarm.on(TARGET, "docker", "rm", "--force", "published").ok()
        swarm.on(TARGET, "docker", "rmi", "published").ok()


def test_the_folder_of_the_rules_is_root_s_alone_to_write(swarm: Lab) -> None:
    path = Path("/etc/pishelf/firewall.nft")
    for one in (path, path.parent):
        assert swarm.on(TARGET, "stat", "-c", "%U", str(one)).ok().strip() == "root"
        assert swarm.on(TARGET, "find", str(one), "-maxdepth", "0", "-perm", "/022").ok() == ""
