"""Who is in charge of an interface and what that one was told, as virtual Pis printed it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest

from facts.network import Fixed, Interface, Network, NetworkState

ADDRESS = "39: eth0    inet 198.18.3.126/24 metric 100 brd 198.18.3.255 scope global dynamic eth0\\ valid_lft 9sec"
LINKS = "/run/systemd/netif/links/39"
NM_DEVICE = "/run/NetworkManager/devices/39:connection-uuid=b73b"
FIXED = Fixed(IPv4Interface("198.18.3.61/24"), IPv4Address("198.18.3.1"), (IPv4Address("198.18.3.1"),))


def read(**answers: str) -> NetworkState:
    answers = {"addresses": ADDRESS, **answers}
    lines = [line for name in Network.questions for line in (f"=== Network.{name}", *answers.get(name, "").split("\n"))]
    return Network().process(lines)


def eth0(**answers: str) -> Interface:
    return read(**answers).interfaces["eth0"]


def networkd(file: str, *lines: str) -> dict[str, str]:
    """What a host says on which systemd-networkd reads `file`."""
    return {
        "units": "inactive\nactive\ninactive",
        "files": "\n".join([f"{LINKS}:NETWORK_FILE={file}", *(f"{file}:{line}" for line in lines)]),
    }


def profile(path: str, *lines: str) -> str:
    return "\n".join(f"{path}\t{line}" for line in lines)


def test_an_address_of_dhcp_is_leased_and_a_fixed_one_is_not() -> None:
    fixed = ADDRESS.replace(" dynamic", "").replace(".126/", ".12/")
    found = eth0(addresses=f"{fixed}\n{ADDRESS}")
    assert [str(one.ip) for one in found.addresses] == ["198.18.3.12", "198.18.3.126"]
    assert [str(one.ip) for one in found.leased] == ["198.18.3.126"]


def test_the_loopback_is_no_interface_to_fix_an_address_on() -> None:
    assert set(read(addresses=f"1: lo    inet 127.0.0.1/8 scope host lo\n{ADDRESS}").interfaces) == {"eth0"}


def test_nobody_known_is_in_charge_where_no_program_says_so() -> None:
    assert eth0().in_charge == "nobody known"


def test_networkmanager_is_in_charge_by_its_connection() -> None:
    found = eth0(units="active", files=NM_DEVICE, profiles=profile("/run/x", "id=Wired", "uuid=b73b", "method=auto"))
    assert (found.in_charge, found.profile, found.fixed) == ("NetworkManager", "b73b", None)


@pytest.mark.parametrize(
    ("units", "profiles"),
    [
        ("active", profile("/run/eth0.nmconnection", "id=eth0", "uuid=b73b", "external=true")),
        ("inactive", profile("/run/x.nmconnection", "id=Wired", "uuid=b73b")),
        ("active", ""),
    ],
)
def test_networkmanager_is_not_in_charge_of_what_it_only_watches_or_once_had(units: str, profiles: str) -> None:
    assert eth0(units=units, files=NM_DEVICE, profiles=profiles).in_charge == "nobody known"


def test_a_network_file_that_netplan_made_is_netplans() -> None:
    found = eth0(**networkd("/run/systemd/network/10-netplan-lan.network", "[Match]", "Name=eth0"))
    assert (found.in_charge, found.profile) == ("netplan", "lan")
    assert found.network_file == "[Match]\nName=eth0"


def test_any_other_network_file_is_networkds_own_with_its_drop_ins_last() -> None:
    answers = networkd("/etc/systemd/network/wired.network", "[Network]", "DHCP=yes")
    answers["files"] += f'\n{LINKS}:NETWORK_FILE_DROPINS="/etc/a.conf:/etc/b.conf"\n/etc/b.conf:B=1\n/etc/a.conf:A=1'
    found = eth0(**answers)
    assert (found.in_charge, found.profile) == ("systemd-networkd", "/etc/systemd/network/wired.network")
    assert found.network_file == "[Network]\nDHCP=yes\nA=1\nB=1"


@pytest.mark.parametrize(
    "ipv4",
    [
        ("address1=198.18.3.61/24", "gateway=198.18.3.1"),  # NetworkManager 1.52
        ("address1=198.18.3.61/24,198.18.3.1",),  # 1.42
    ],
)
def test_an_address_that_networkmanager_was_told_is_read_back(ipv4: tuple[str, ...]) -> None:
    ours = profile("/etc/x", "id=pishelf-eth0", "uuid=b73b", *ipv4, "dns=198.18.3.1;", "method=manual")
    assert eth0(units="active", files=NM_DEVICE, profiles=ours).fixed == FIXED


def test_a_trial_that_networkmanager_forgets_at_the_next_boot_fixes_nothing() -> None:
    trial = profile("/run/x", "id=pishelf-eth0", "uuid=b73b", "address1=198.18.3.61/24", "method=manual")
    assert eth0(units="active", files=NM_DEVICE, profiles=trial).fixed is None


def test_a_profile_of_ours_that_somebody_set_back_to_dhcp_fixes_nothing() -> None:
    ours = profile("/etc/x", "id=pishelf-eth0", "uuid=b73b", "address1=198.18.3.61/24", "method=auto")
    assert eth0(units="active", files=NM_DEVICE, profiles=ours).fixed is None


@pytest.mark.parametrize(
    ("said", "servers"),
    [
        ("/etc/resolv.conf:nameserver 198.18.3.1", "198.18.3.1"),
        ("/etc/resolv.conf:nameserver 127.0.0.53\n/run/systemd/resolve/resolv.conf:nameserver 1.1.1.1", "1.1.1.1"),
        ("/run/NetworkManager/resolv.conf:nameserver 2.2.2.2\n/etc/resolv.conf:nameserver 3.3.3.3", "2.2.2.2"),
        (f"{LINKS}:DNS=4.4.4.4 5.5.5.5 fe80::1\n/etc/resolv.conf:nameserver 3.3.3.3", "4.4.4.4 5.5.5.5"),
        ("/etc/resolv.conf:nameserver 127.0.0.53", ""),
    ],
)
def test_name_servers_are_those_that_the_host_asks_elsewhere(said: str, servers: str) -> None:
    found = read(units="active\nactive\ninactive", files=said).name_servers
    assert found == tuple(IPv4Address(server) for server in servers.split())


def test_the_preferred_default_route_comes_first() -> None:
    text = "default via 198.18.3.1 dev eth0 proto dhcp metric 100\ndefault dev ppp0 scope link metric 900"
    assert read(gateways=text).gateways == (("eth0", IPv4Address("198.18.3.1")), ("ppp0", None))
