"""What the firewall's rules say, and whom they would shut out, on values."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.firewall import Firewall, FirewallState, Route
from operations.firewall import other_source, ruleset, shut_out

NODES = ["192.168.1.11", "192.168.1.12"]


def elements(rules: str, name: str) -> list[str]:
    """The elements of a set, as nft would read them."""
    inside = rules.partition(f"set {name} {{")[2].partition("\n\t}")[0]
    return [word.strip() for word in inside.partition("{")[2].partition("}")[0].split(",") if word.strip()]


def read(routes: str) -> FirewallState:
    """A host with these routes and no firewall yet."""
    answers = dict.fromkeys(Firewall.questions, "") | {"routes": routes}
    return Firewall().parse(answers)


@given(st.lists(st.ip_addresses(v=4), min_size=1))
def test_the_order_in_which_the_inventory_names_its_nodes_changes_nothing(nodes: list[IPv4Address]) -> None:
    rules = ruleset(map(str, nodes), [])
    assert rules == ruleset(map(str, reversed(nodes)), [])
    assert {IPv4Address(node) for node in elements(rules, "nodes")} == set(nodes)


@given(
    st.lists(st.tuples(st.ip_addresses(v=4), st.integers(1, 32)).map(lambda pair: IPv4Network(pair, strict=False))),
    st.ip_addresses(v=4),
)
def test_networks_that_overlap_are_written_once_and_let_in_whom_they_name(
    networks: list[IPv4Network], someone: IPv4Address
) -> None:
    written = [IPv4Network(one) for one in elements(ruleset(NODES, map(str, networks)), "api_networks")]
    assert not any(one.overlaps(other) for one in written for other in written if one is not other)
    assert any(someone in one for one in written) == any(someone in one for one in networks)


def test_without_networks_the_set_is_empty_and_no_syntax_error() -> None:
    assert "elements" not in ruleset(NODES, []).partition("api_networks {")[2]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.11 metric 100", ("192.168.1.11", 100)),
        ("192.168.1.5 dev tun0 scope link", ("", 0)),
        ("default via 192.168.1.1 dev eth0 proto dhcp src 192.168.1.11 metric 100", None),
        ("10.0.0.0/8 via 192.168.1.1 dev eth0", None),
        ("default dev ppp0 scope link", None),
        ("unreachable 10.99.0.0/16 metric 4", None),
        ("blackhole default dev lo", None),
    ],
)
def test_a_route_is_one_to_neighbours_or_none(line: str, expected: tuple[str, int] | None) -> None:
    route = Route.parse(line)
    assert (route and (route.source, route.metric)) == expected


CABLE_AND_WIFI = """\
default via 192.168.1.1 dev eth0 proto dhcp src 192.168.1.11 metric 100
172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown
192.168.1.0/24 dev wlan0 proto kernel scope link src 192.168.1.111 metric 600
192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.11 metric 100
"""


def test_a_hosts_network_is_the_one_that_its_address_is_in() -> None:
    assert read(CABLE_AND_WIFI).network_of("192.168.1.11") == "192.168.1.0/24"
    assert read(CABLE_AND_WIFI).network_of("192.168.2.11") == ""


def test_two_connections_to_one_network_are_harmless_while_the_named_one_is_preferred() -> None:
    assert other_source(read(CABLE_AND_WIFI), NODES) == ""


def test_two_connections_to_one_network_are_refused_where_the_other_one_is_preferred() -> None:
    wifi_first = read(CABLE_AND_WIFI.replace("metric 600", "metric 50"))
    assert "from 192.168.1.111" in other_source(wifi_first, NODES)


@pytest.mark.parametrize("us", ["192.168.1.7", "192.168.1.12", "127.0.0.1", "10.8.0.3", "", "fe80::1", "UNKNOWN"])
def test_a_computer_that_stays_within_or_is_not_known_is_not_refused(us: str) -> None:
    assert shut_out(us, ["192.168.1.11", "192.168.1.12"], ["192.168.1.0/28", "10.8.0.0/24"]) == ""


@pytest.mark.parametrize(
    ("us", "networks", "fix"),
    [
        ("10.8.0.3", ["192.168.1.0/24"], "['192.168.1.0/24', '10.8.0.3/32']"),
        ("192.168.1.77", [], "['192.168.1.77/32']"),
    ],
)
def test_a_computer_that_would_be_shut_out_is_told_the_setting(us: str, networks: list[str], fix: str) -> None:
    assert f"api_networks = {fix}" in shut_out(us, NODES, networks)
