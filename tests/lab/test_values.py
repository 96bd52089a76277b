"""What the lab decides, as values."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.errors import UserError
from lab import engine, image, nodes, subnet
from lab.lifecycle import Status, runs
from lab.spec import Lab, Node, node_number

ALL = list(subnet.RANGE.subnets(new_prefix=24))
names = st.sampled_from(["lab", "other", "test-1"])
networks = st.one_of(
    st.sampled_from(ALL),
    st.builds(
        lambda address, length: IPv4Network((address, length), strict=False),
        st.integers(min_value=0, max_value=2**32 - 1),
        st.integers(min_value=8, max_value=32),
    ),
)


@given(names, st.lists(networks))
def test_a_new_lab_overlaps_nothing_and_stays_in_the_range(name, taken):
    try:
        chosen = subnet.choose(name, taken)
    except UserError:
        assert all(any(one.overlaps(network) for network in taken) for one in ALL)
        return
    assert chosen.prefixlen == 24
    assert chosen.subnet_of(subnet.RANGE)
    assert not any(chosen.overlaps(network) for network in taken)


def test_the_default_lab_gets_the_first_subnet_and_others_leave_it_alone():
    assert subnet.choose("lab", []) == ALL[0]
    assert subnet.choose("other", []) == ALL[1]
    assert subnet.choose("lab", ALL[:2]) == ALL[2]
    assert subnet.choose("other", ALL[1:]) == ALL[0]


def test_a_full_range_is_an_error_with_a_fix():
    with pytest.raises(UserError, match="make clean"):
        subnet.choose("lab", [subnet.RANGE])


def test_routes_are_read_without_the_default_route():
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert subnet.parse_routes(table) == [IPv4Network("192.168.1.0/24")]


@given(st.integers(min_value=1, max_value=200))
def test_a_nodes_number_decides_its_names_and_its_address(number):
    node = Node(Lab("lab", Path("/clone")), number, IPv4Network("198.18.7.0/24"))
    assert node.address == IPv4Address(f"198.18.7.{10 + number}")
    assert node.container == f"lab-pi{number}"
    assert node_number(node.container) == number


@pytest.mark.parametrize("name", ["", "Lab", "1", "-x", "a/b", "a" * 32, "default"])
def test_a_name_that_containers_or_a_docker_context_cannot_have_is_refused_by_name(name):
    with pytest.raises(UserError, match=repr(name)):
        Lab.parse(name)


def test_a_complete_machine_misses_no_capability():
    assert engine.missing_capabilities("CapBnd:\t000001ffffffffff\n", 40) == ()


def test_a_sandbox_misses_sys_resource():
    assert engine.missing_capabilities("CapBnd:\t000001fffeffffff\n", 40) == ("SYS_RESOURCE",)


def test_an_old_kernel_is_not_asked_for_what_it_does_not_know():
    assert engine.missing_capabilities("CapBnd:\t0000003fffffffff\n", 37) == ()


@pytest.mark.parametrize(("version", "major"), [("20.10.24+dfsg1", 20), ("26.1.5", 26), ("v28.0.1", 28), ("dev", 23)])
def test_an_engines_major_version_is_read(version, major):
    assert engine.parse_major(version) == major


def test_nodes_use_the_mirror_that_this_machine_uses():
    targets = "bookworm|http://m/debian/\nbookworm-updates|http://m/debian/\nbookworm-security|http://m/sec/\n"
    assert image.parse_sources(targets, "bookworm") == (
        "deb http://m/debian/ trixie main",
        "deb http://m/debian/ trixie-updates main",
        "deb http://m/sec/ trixie-security main",
    )


def test_on_another_distribution_mmdebstrap_chooses_the_mirror():
    assert image.parse_sources("noble|http://u/ubuntu/\n", "") == ()
    assert image.parse_sources("", "bookworm") == ()


def test_nodes_inherit_only_the_apt_settings_that_matter():
    dump = 'Acquire::Check-Date "false";\nAcquire::http::Proxy "";\nAPT::Architecture "amd64";\n'
    assert image.parse_apt_settings(dump) == ('Acquire::Check-Date "false";',)


def test_the_images_tag_changes_with_its_recipe():
    one = image.Recipe("x86_64", (), (), "setup")
    assert one.tag == image.Recipe("x86_64", (), (), "setup").tag
    assert one.tag != image.Recipe("x86_64", (), (), "another setup").tag


def test_what_a_node_says_is_read():
    text = "running\nssh-ed25519 AAAA root@pi\nssh-rsa BBBB root@pi\n--\nssh-ed25519 CCCC me\n"
    assert nodes.parse_answers(text) == nodes.Answers(
        "running", ("ssh-ed25519 AAAA", "ssh-rsa BBBB"), ("ssh-ed25519 CCCC me",)
    )


@pytest.mark.parametrize("text", ["", "\n--\n", "starting\n--\n"])
def test_a_node_that_cannot_say_yet_has_no_keys(text):
    assert nodes.parse_answers(text).host_keys == ()


def statuses(**states):
    """What the engine says of these nodes."""
    return [Status(name, f"lab-{name}", "198.18.0.11", state) for name, state in states.items()]


@pytest.mark.parametrize("away", ["pi1", "pi2"])
def test_a_lab_runs_also_while_one_of_its_nodes_is_away_be_it_the_leader(away):
    assert runs(statuses(**{"pi1": "running", "pi2": "running", away: "exited"}))


@pytest.mark.parametrize("states", [{}, {"pi1": "exited", "pi2": "exited"}, {"pi2": "running"}])
def test_a_lab_of_which_nothing_runs_or_that_has_no_leader_does_not_run(states):
    assert not runs(statuses(**states))
