"""Which address a host gets and how it is told, on values; what is told is read back by the facts."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.network import Fixed, InCharge, Interface, NetworkState, fixed_by_netplan, fixed_by_networkd
from operations.fixed import netplan_file, network_file, steps_for
from operations.network import fixed_for, interface_for, is_fixed
from operations.refusal import Refused
from operations.text import with_block

ROUTER = IPv4Address("192.168.1.1")
LEASE = (IPv4Interface("192.168.1.87/24"),)
ETH0 = Interface("eth0", "", LEASE, LEASE, "NetworkManager", "b73b", "", None)
WLAN0 = replace(ETH0, name="wlan0", kind="wlan", addresses=(IPv4Interface("192.168.1.88/24"),))
FIXED = Fixed(IPv4Interface("192.168.1.14/24"), ROUTER, (ROUTER,))


def state(*interfaces: Interface, gateways: tuple[tuple[str, IPv4Address | None], ...] = ()) -> NetworkState:
    return NetworkState(
        {one.name: one for one in interfaces}, gateways, (ROUTER,), False, frozenset(), frozenset(), "", ""
    )


def networkd(text: str, in_charge: InCharge = "systemd-networkd") -> Interface:
    return replace(ETH0, in_charge=in_charge, profile="eth0", network_file=text)


@pytest.mark.parametrize(
    ("address", "reached", "name"),
    [
        ("192.168.1.87", "192.168.1.88", "eth0"),
        ("192.168.1.14", "192.168.1.88", "wlan0"),
        ("192.168.1.14", "pi.local", "eth0"),
    ],
)
def test_the_interface_has_the_address_or_let_us_in_or_leads_outside(address: str, reached: str, name: str) -> None:
    found = interface_for(state(WLAN0, ETH0, gateways=(("eth0", ROUTER),)), address, reached)
    assert found.name == name


def test_a_host_without_a_way_outside_is_refused() -> None:
    with pytest.raises(Refused, match="none of its interfaces"):
        interface_for(state(), "192.168.1.14", "pi.local")


def test_what_the_inventory_does_not_say_stays_as_it_is() -> None:
    found = fixed_for(state(ETH0, gateways=(("wlan0", None), ("eth0", ROUTER))), ETH0, "192.168.1.14", None, [])
    assert found == FIXED


def test_what_the_inventory_says_comes_first_and_then_what_the_host_was_told_before() -> None:
    before = replace(ETH0, fixed=Fixed(IPv4Interface("192.168.1.13/24"), IPv4Address("192.168.1.2"), ()))
    here = state(before, gateways=(("eth0", ROUTER),))
    assert fixed_for(here, before, "192.168.1.14", None, []) == Fixed(FIXED.address, IPv4Address("192.168.1.2"), ())
    said = fixed_for(here, before, "192.168.1.14", "192.168.1.3", ["1.1.1.1"])
    assert said == Fixed(FIXED.address, IPv4Address("192.168.1.3"), (IPv4Address("1.1.1.1"),))


@pytest.mark.parametrize(
    ("address", "gateway", "words"),
    [
        ("10.0.0.14", None, "192.168.1.1 is not in 10.0.0.0/24"),
        ("192.168.1.255", None, "choose another"),
        ("192.168.1.0", None, "choose another"),
        ("192.168.1.1", None, "the gateway has the same"),
        ("192.168.1.14", "192.168.2.1", "192.168.2.1 is not in 192.168.1.0/24"),
    ],
)
def test_an_address_that_reaches_nothing_is_refused_before_anything_is_tried(
    address: str, gateway: str | None, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        fixed_for(state(ETH0, gateways=(("eth0", ROUTER),)), ETH0, address, gateway, [])


def test_an_address_that_somebody_else_has_fixed_needs_nothing() -> None:
    there = replace(ETH0, addresses=(FIXED.address,), leased=())
    assert is_fixed(there, FIXED, chosen=False)
    assert not is_fixed(there, FIXED, chosen=True)
    assert not is_fixed(replace(there, leased=(FIXED.address,)), FIXED, chosen=False)
    assert not is_fixed(ETH0, FIXED, chosen=False)


def test_an_address_that_we_have_fixed_needs_nothing_until_the_inventory_says_otherwise() -> None:
    there = replace(ETH0, addresses=(FIXED.address,), leased=(), fixed=FIXED)
    assert is_fixed(there, FIXED, chosen=True)
    assert not is_fixed(there, replace(FIXED, gateway=IPv4Address("192.168.1.2")), chosen=False)


def test_nothing_is_tried_where_nobody_known_is_in_charge() -> None:
    with pytest.raises(ValueError, match="reserve it in your router"):
        steps_for(replace(ETH0, in_charge="nobody known"), FIXED)


@pytest.mark.parametrize(
    ("former", "deleted"),
    [
        ("", []),
        ("0a1b:pishelf-eth0\n", ["connection delete uuid 0a1b"]),
        ("0a1b:pishelf-eth0\n2c3d:pishelf-eth0\n", ["connection delete uuid 0a1b", "connection delete uuid 2c3d"]),
    ],
)
def test_of_networkmanagers_profiles_only_earlier_ones_of_ours_go_and_not_one_that_a_person_uses(
    tmp_path: Path, former: str, deleted: list[str]
) -> None:
    profiles, said, nmcli = tmp_path / "profiles", tmp_path / "said", tmp_path / "nmcli"
    profiles.write_text(f"b73b:home\n{former}4e5f:pishelf-eth0-trial\n6a7b:pishelf-eth01\n")
    nmcli.write_text(f'#!/bin/sh\ncase "$*" in -g*) cat {profiles};; *) echo "$*" >>{said};; esac\n')
    nmcli.chmod(0o755)
    keep = steps_for(replace(ETH0, fixed=FIXED), FIXED).keep
    subprocess.run(["sh", "-c", keep], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    kept = "connection modify id pishelf-eth0-trial connection.id pishelf-eth0"
    assert said.read_text().splitlines() == [kept, *deleted]


fixed_addresses = st.builds(
    Fixed,
    st.builds(IPv4Interface, st.tuples(st.ip_addresses(v=4), st.integers(8, 30))),
    st.none() | st.ip_addresses(v=4),
    st.lists(st.ip_addresses(v=4), max_size=3).map(tuple),
)


@given(fixed_addresses)
def test_what_netplan_is_told_is_read_back(fixed: Fixed) -> None:
    assert fixed_by_netplan(netplan_file(networkd("", "netplan"), fixed)) == fixed


@given(fixed_addresses)
def test_what_networkd_is_told_is_read_back(fixed: Fixed) -> None:
    assert fixed_by_networkd(network_file(networkd("[Network]\nDHCP=yes"), fixed)) == fixed


@given(fixed_addresses, st.text())
def test_a_network_file_made_of_ours_is_ours_again(fixed: Fixed, text: str) -> None:
    ours = network_file(networkd(text), fixed)
    assert network_file(networkd(ours), fixed) == ours


def test_a_network_file_keeps_what_does_not_concern_the_address_and_is_for_one_interface() -> None:
    made = network_file(
        networkd(
            "# mine\n[Match]\nName=e*\n[Link]\nMTUBytes=1400\n[Network]\nDHCP=yes\nMulticastDNS=yes\n"
            "Address=fd00::5/64\nAddress=192.168.1.9/24\n[Address]\nAddress=192.168.1.8/24\n"
            "[Route]\nGateway=192.168.1.9\n[Route]\nDestination=10.0.0.0/8\nGateway=192.168.1.7\n"
        ),
        FIXED,
    )
    assert "Name=eth0\n" in made
    for kept in ("MTUBytes=1400", "MulticastDNS=yes", "Address=fd00::5/64", "Destination=10.0.0.0/8", "192.168.1.7"):
        assert kept in made
    for gone in ("e*", "DHCP", "192.168.1.9", "192.168.1.8"):
        assert gone not in made


def test_netplan_is_told_of_an_interface_by_its_own_id_and_kind() -> None:
    made = netplan_file(replace(WLAN0, in_charge="netplan", profile="home"), FIXED)
    assert "  wifis:\n    home:\n" in made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[Match]\nName=eth0\n[Network]\nAddress=192.168.1.5/24", "netplan would keep both"),
        ("[Match]\nName=en*\n[Network]\nDHCP=ipv4", "matches more interfaces"),
    ],
)
def test_a_netplan_that_ours_would_not_replace_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        steps_for(networkd(text, "netplan"), FIXED)


lines = st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(lambda line: line[0] != "#"))


@given(lines, lines, lines, st.booleans())
def test_a_block_is_replaced_and_goes_and_the_rest_stays(
    theirs: list[str], ours: list[str], later: list[str], first: bool
) -> None:
    text = "\n".join(theirs)
    once = with_block(text, ours, first)
    assert with_block(once, ours, first) == once
    assert with_block(with_block(once, later, first), []) == text


def test_a_new_block_comes_last_or_first() -> None:
    assert with_block("theirs", ["ours"]).splitlines() == ["theirs", "# begin pishelf", "ours", "# end pishelf"]
    assert with_block("theirs", ["ours"], first=True).splitlines()[-1] == "theirs"


def test_lines_after_a_block_whose_end_somebody_took_away_stay() -> None:
    torn = with_block("theirs", ["ours"]).replace("# end pishelf", "more of theirs")
    assert with_block(torn, []).splitlines() == ["theirs", "ours", "more of theirs"]
