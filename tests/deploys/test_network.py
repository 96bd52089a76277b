"""Addresses that change under a running deploy, on virtual Pis with a DHCP server and with each network program.

The Pis are read by `docker exec`, which needs no address. pi4 plays the router, and pi5 the Pi with dhcpcd.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import PYINFRA, ROOT, Done, Lab, command, nothing_proposed, until
from tests.conftest import NAME

ROUTER = "pi4"
# What makes each Pi's program ask the router for an address, and where it keeps what it was told.
SETUP = {
    # On a real Pi eth0 is bare at first; here the engine has given it an address, which NetworkManager would respect.
    "pi1": "mkdir -p /etc/systemd/system/NetworkManager.service.d;"
    " printf '[Service]\\nExecStartPre=ip address flush dev eth0\\n'"
    " > /etc/systemd/system/NetworkManager.service.d/bare.conf; apt-get update -qq;"
    " apt-get install -y -qq --no-install-recommends network-manager",
    "pi2": "printf '[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\nLLMNR=no\\n' > /etc/systemd/network/wired.network;"
    " systemctl enable --now systemd-networkd",
    "pi3": "apt-get update -qq; apt-get install -y -qq --no-install-recommends netplan.io; umask 077;"
    " printf 'network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\\n' > /etc/netplan/50-cloud-init.yaml;"
    " systemctl enable --now systemd-networkd; netplan generate; networkctl reload",
}
KEPT_IN = {
    "pi1": "/etc/NetworkManager/system-connections",
    "pi2": "/etc/systemd/network",
    "pi3": "/etc/netplan",
}
FORGET = {
    "pi1": "nmcli -t -f NAME connection | grep ^pishelf | xargs -r nmcli connection delete id;"
    " systemctl restart NetworkManager",
    "pi2": "rm -f /etc/systemd/network/00-pishelf*; networkctl reload",
    "pi3": "rm -f /etc/netplan/90-pishelf*; netplan generate; networkctl reload",
}
DEPLOY = "from deploys import cluster, host\nhost.prepare(cluster=cluster.read())\n"


@dataclass(frozen=True)
class Lan:
    """The lab, and a folder for inventories that name addresses of our choice."""

    lab: Lab
    folder: Path

    def sh(self, pi: str, script: str) -> str:
        return self.lab.on(pi, "sh", "-c", script).ok()

    def seen(self, pi: str) -> list[str]:
        """The addresses of a Pi, and whether they are leased."""
        lines = self.sh(pi, "ip -4 -o address show dev eth0").splitlines()
        return [line.split()[3].partition("/")[0] + (" leased" if " dynamic " in line else "") for line in lines]

    def leased(self, pi: str) -> str:
        (address,) = self.seen(pi)
        assert address.endswith(" leased"), address
        return address.removesuffix(" leased")

    def addresses(self, last: int) -> dict[str, str]:
        """One address a Pi in the LAN, counted from .`last`."""
        network = self.lab.address(ROUTER).rpartition(".")[0]
        return {pi: f"{network}.{last + number}" for number, pi in enumerate(SETUP)}

    def inventory(self, addresses: Mapping[str, str], reached: Mapping[str, str], **settings: object) -> str:
        """Writes an inventory in which each Pi has a fixed address and is now reached at another."""
        common = {
            "static": True,
            "ssh_known_hosts_file": str(self.folder / "known_hosts"),
            "ssh_strict_host_key_checking": "accept-new",
            "registry_node": next(iter(addresses)),
            "prometheus_node": next(iter(addresses)),
            **settings,
        }
        mine = {pi: {"address": addresses[pi], "ssh_hostname": reached[pi]} for pi in addresses}
        return self.lab.inventory(
            self.folder,
            f"_hosts = [(pi, {{**data, **{common!r}, **{mine!r}[pi]}}) for pi, data in [*_managers, *_workers]"
            f" if pi in {mine!r}]\nmanagers, workers = _hosts[:1], _hosts[1:]",
        )

    def argv(self, inventory: str, *argv: str) -> list[str]:
        deploy = self.folder / "prepare.py"
        deploy.write_text(DEPLOY)
        return [*argv, inventory, str(deploy)]

    def run(self, inventory: str, *argv: str) -> Done:
        return self.lab.pyinfra(*self.argv(inventory, *(argv or ("-y",))))

    @contextmanager
    def unreachable(self, addresses: Mapping[str, str]) -> Iterator[None]:
        """No ssh gets in at these addresses."""
        rule = "INPUT --protocol tcp --dport 22 --jump DROP --destination"
        with ExitStack() as stack:
            for pi, address in addresses.items():
                self.sh(pi, f"iptables --insert {rule} {address}")
                stack.callback(self.lab.on, pi, "sh", "-c", f"iptables --delete {rule} {address}")
            yield

    def cut_off(self, inventory: str) -> None:
        """Start a run, and kill it when each Pi has its new address and nobody has confirmed it."""
        running = subprocess.Popen(
            [PYINFRA, *self.argv(inventory, "-y")],
            cwd=ROOT,
            env={**os.environ, "LAB": self.lab.name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            for pi in SETUP:
                until(lambda pi=pi: self.lab.on(pi, "test", "-e", "/run/pishelf/address/tried").code == 0)
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()

    def switch_off_and_on(self, pi: str) -> None:
        command("docker", "kill", f"{self.lab.name}-{pi}").ok()
        command("docker", "start", f"{self.lab.name}-{pi}").ok()
        until(lambda: self.lab.on(pi, "systemctl", "is-system-running").said.strip() in ("running", "degraded"))


@pytest.fixture(scope="module")
def lan(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """Three Pis whose addresses come from a DHCP server, each with another program that asks for it."""
    with Lab(f"{NAME}-lan").fresh(5) as lab:
        lan = Lan(lab, tmp_path_factory.mktemp("lan"))
        (lan.folder / "known_hosts").touch()
        router = lab.address(ROUTER)
        gateway = f"{router.rpartition('.')[0]}.1"
        lan.sh(
            ROUTER,
            f"printf '[Match]\\nName=eth0\\n[Network]\\nAddress={router}/24\\nDHCPServer=yes\\n[DHCPServer]\\n"
            f"PoolOffset=100\\nPoolSize=50\\nRouter={gateway}\\nDNS={gateway}\\n' > /etc/systemd/network/eth0.network;"
            " systemctl enable --now systemd-networkd",
        )
        for pi, script in SETUP.items():
            lan.sh(pi, script)
        yield lan


@pytest.fixture
def leases(lan: Lan) -> dict[str, str]:
    """Where the Pis are as their router has it, with nothing left of an earlier test."""
    for pi, script in FORGET.items():
        lan.sh(pi, f"rm -rf /run/pishelf; {script}")
    for pi in SETUP:
        until(lambda pi=pi: [one.endswith(" leased") for one in lan.seen(pi)] == [True])
    (lan.folder / "known_hosts").write_text("")
    return {pi: lan.leased(pi) for pi in SETUP}


def test_hosts_move_to_their_fixed_addresses_and_the_same_inventory_finds_them_there(
    lan: Lan, leases: dict[str, str]
) -> None:
    there = lan.addresses(60)
    inventory = lan.inventory(there, leases)
    lan.run(inventory).ok()
    assert {pi: lan.seen(pi) for pi in SETUP} == {pi: [address] for pi, address in there.items()}
    assert nothing_proposed(lan.run(inventory, "--dry"))
    (lan.folder / "known_hosts").write_text("")  # as on another computer
    assert nothing_proposed(lan.run(inventory, "--dry"))
    for pi in SETUP:
        assert lan.sh(pi, "ip -4 route show default").split()[2] == f"{there[pi].rpartition('.')[0]}.1"


def test_a_host_that_moved_twice_is_at_its_last_address_after_a_power_cut(lan: Lan, leases: dict[str, str]) -> None:
    first, second = lan.addresses(60), lan.addresses(70)
    lan.run(lan.inventory(first, leases)).ok()
    lan.run(lan.inventory(second, first)).ok()
    for pi in SETUP:
        lan.switch_off_and_on(pi)
        until(lambda pi=pi: lan.seen(pi) == [second[pi]])
    assert lan.sh("pi1", "nmcli -t -f NAME connection | grep -c pishelf").strip() == "1"


def test_a_gateway_that_does_not_answer_is_named_and_the_old_addresses_are_back(
    lan: Lan, leases: dict[str, str]
) -> None:
    elsewhere = {pi: f"198.19.77.{number}" for number, pi in enumerate(SETUP, start=5)}
    said = lan.run(lan.inventory(elsewhere, leases, gateway="198.19.77.1")).refused()
    for pi in SETUP:
        assert f"198.19.77.1 does not answer; so it is back at {leases[pi]}, and nothing was changed" in said
        assert lan.leased(pi) == leases[pi]


def test_hosts_that_are_not_reached_at_their_new_addresses_are_back_at_the_old_ones_a_minute_later(
    lan: Lan, leases: dict[str, str]
) -> None:
    there = lan.addresses(60)
    with lan.unreachable(there):
        said = lan.run(lan.inventory(there, leases)).refused()
    for pi in SETUP:
        assert f"not reached there within a minute; so it is back at {leases[pi]}" in said
        assert lan.leased(pi) == leases[pi]
        assert "pishelf" not in lan.sh(pi, f"ls {KEPT_IN[pi]}")


def test_a_power_cut_before_the_new_addresses_are_confirmed_takes_them_back(lan: Lan, leases: dict[str, str]) -> None:
    there = lan.addresses(60)
    with lan.unreachable(there):
        lan.cut_off(lan.inventory(there, leases))
        for pi in SETUP:
            assert lan.seen(pi) == [there[pi]]
            lan.switch_off_and_on(pi)
    for pi in SETUP:
        until(lambda pi=pi: lan.seen(pi) == [f"{leases[pi]} leased"])


def test_a_run_after_one_that_was_cut_off_waits_for_its_end_and_then_does_it_again(
    lan: Lan, leases: dict[str, str]
) -> None:
    there = lan.addresses(60)
    inventory = lan.inventory(there, leases)
    with lan.unreachable(there):
        lan.cut_off(inventory)
    lan.run(inventory).ok()
    assert {pi: lan.seen(pi) for pi in SETUP} == {pi: [address] for pi, address in there.items()}


def test_what_cannot_be_kept_is_taken_back(lan: Lan, leases: dict[str, str]) -> None:
    with ExitStack() as stack:
        for pi, folder in KEPT_IN.items():
            lan.sh(pi, f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}")
            stack.callback(lan.lab.on, pi, "umount", folder)
        lan.sh("pi1", "systemctl restart NetworkManager")  # it sees the mounts of when it started
        until(lambda: lan.seen("pi1") == [f"{leases['pi1']} leased"])
        said = lan.run(lan.inventory(lan.addresses(60), leases)).refused()
    for pi in SETUP:
        (line,) = (line for line in said.splitlines() if f"[{pi}] fixing" in line)
        assert ("failed to write" if pi == "pi1" else "Read-only") in line
        assert f"back at {leases[pi]}" in line
        assert lan.leased(pi) == leases[pi]


def test_an_address_that_another_machine_has_is_refused_before_anything_changes(
    lan: Lan, leases: dict[str, str]
) -> None:
    taken = lan.lab.address(ROUTER)
    lan.sh(ROUTER, "iptables --insert INPUT --protocol icmp --jump DROP")  # it need not answer a ping
    try:
        said = lan.run(lan.inventory({"pi2": taken}, leases)).refused()
    finally:
        lan.sh(ROUTER, "iptables --delete INPUT --protocol icmp --jump DROP")
    assert f"another machine, {lan.sh(ROUTER, 'cat /sys/class/net/eth0/address').strip()}, has {taken}" in said
    assert lan.leased("pi2") == leases["pi2"]


def test_an_address_whose_ssh_key_is_known_to_be_another_machines_is_refused(lan: Lan, leases: dict[str, str]) -> None:
    there = {"pi2": lan.addresses(60)["pi2"]}
    other = lan.sh(ROUTER, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    (lan.folder / "known_hosts").write_text(f"{there['pi2']} {other}")
    lan.run(lan.inventory(there, leases)).refused(f"ssh-keygen -R {there['pi2']}")
    assert lan.leased("pi2") == leases["pi2"]


def test_networkmanager_leaves_dockers_interfaces_alone_and_keeps_its_connection(
    lan: Lan, leases: dict[str, str]
) -> None:
    lan.sh("pi1", "rm -f /etc/NetworkManager/conf.d/90-pishelf.conf; systemctl reload NetworkManager")
    since = lan.sh("pi1", "journalctl --unit NetworkManager --output cat --lines 0 --show-cursor")
    inventory = lan.inventory({"pi1": leases["pi1"]}, leases, static=False)
    lan.run(inventory).ok()
    assert nothing_proposed(lan.run(inventory, "--dry"))
    names = ("veth9", "docker9", "br-9", "ov-9")
    try:
        for name in names:  # each one's other end is nobody's business but NetworkManager's
            lan.sh("pi1", f"ip link add {name} type veth peer other-{name}; ip link set {name} up")
        until(lambda: "other-ov-9:connecting" in lan.sh("pi1", "nmcli -t -f DEVICE,STATE device"))
        states = lan.sh("pi1", "nmcli -t -f DEVICE,STATE device").splitlines()
    finally:
        lan.sh("pi1", f"for name in {' '.join(names)}; do ip link delete $name; done")
    assert {f"{name}:unmanaged" for name in names} <= set(states)
    assert not [line for line in states if line.startswith("other-") and line.endswith(":unmanaged")]
    cursor = since.partition("-- cursor: ")[2].strip()
    assert "eth0" not in lan.sh("pi1", f"journalctl --unit NetworkManager --output cat --after-cursor '{cursor}'")


@pytest.fixture(scope="module")
def with_dhcpcd(lan: Lan) -> str:
    """The address that pi5 has from dhcpcd, and no other."""
    lan.sh(
        "pi5",
        "apt-get update -qq; apt-get install -y -qq --no-install-recommends dhcpcd;"
        # What `nodev` turns off waits for a device manager that containers lack.
        " sed -i '1i # mine\\nnodev' /etc/dhcpcd.conf; printf 'interface eth0\\n' >> /etc/dhcpcd.conf;"
        " ip address flush dev eth0; systemctl start dhcpcd",
    )
    until(lambda: [one.endswith(" leased") for one in lan.seen("pi5")] == [True])
    return lan.leased("pi5")


def test_dhcpcd_leaves_dockers_interfaces_alone_and_keeps_its_lease(lan: Lan, with_dhcpcd: str) -> None:
    inventory = lan.inventory({"pi5": with_dhcpcd}, {"pi5": with_dhcpcd}, static=False)
    before = lan.sh("pi5", "cat /etc/dhcpcd.conf")
    lan.run(inventory).ok()
    assert nothing_proposed(lan.run(inventory, "--dry"))
    after = lan.sh("pi5", "cat /etc/dhcpcd.conf")
    assert after.endswith(before)
    until(lambda: lan.seen("pi5") == [f"{with_dhcpcd} leased"])
    lan.sh("pi5", "for name in veth1 other1; do ip link add $name type veth peer ${name}b; ip link set $name up;"
           " ip link set ${name}b up; done")  # fmt: skip
    until(lambda: "inet 169.254." in lan.sh("pi5", "ip -4 -o address show dev other1"))
    assert "inet 169.254." not in lan.sh("pi5", "ip -4 -o address show dev veth1")


def test_a_host_that_only_dhcpcd_configures_is_refused_a_fixed_address(lan: Lan, with_dhcpcd: str) -> None:
    lan.run(lan.inventory({"pi5": with_dhcpcd}, {"pi5": with_dhcpcd})).refused(
        "[pi5]", "eth0 is configured neither by NetworkManager nor netplan nor systemd-networkd"
    )
