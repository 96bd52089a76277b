"""What hosts say of their hardware and kernels; sensors by what real Pis printed (recorded/README.md)."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyinfra.api.exceptions import FactProcessError

from facts.board import Board, BoardState, Card
from facts.disks import Disks
from facts.kernel import Kernel
from facts.links import Links, Listener
from facts.part import Part
from facts.reach import Reach
from facts.reach_probe import read
from facts.runtime import Overlay, Published, Runtime, RuntimeState
from facts.upkeep import Upkeep

RECORDED = Path(__file__).with_name("recorded")
PARTS = (Board, Kernel, Disks, Links, Runtime, Upkeep)


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def parsed(part: type[Part[object]], **answers: str) -> object:
    """The value of these answers; questions that are not named answer nothing."""
    return part().parse({name: answers.get(name, "") for name in part.questions})


def board(**answers: str) -> BoardState:
    state = parsed(Board, **answers)
    assert isinstance(state, BoardState)
    return state


def asked(part: type[Part[object]], question: str, places: Mapping[str, Path]) -> str:
    """What a question's own command prints where files of another machine lie in other places."""
    command = part.questions[question]
    for path, instead in places.items():
        assert path in command
        command = command.replace(path, shlex.quote(str(instead)))
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("model-pi1", "Raspberry Pi Model B Rev 2"),
        ("model-pi3", "Raspberry Pi 3 Model B Rev 1.2"),
        ("model-pi4", "Raspberry Pi 4 Model B Rev 1.5"),
        ("model-pi5", "Raspberry Pi 5 Model B Rev 1.0"),
    ],
)
def test_the_model_is_read_without_its_last_byte(file: str, model: str) -> None:
    assert board(model=asked(Board, "model", {"/proc/device-tree/model": RECORDED / file})).model == model


def test_a_weak_supply_shows_now_and_since_boot() -> None:
    now = board(throttled=recorded("get_throttled-pi3-now")).throttling
    before = board(throttled=recorded("get_throttled-pi3-since-boot")).throttling
    assert now
    assert before
    assert (now.undervoltage, now.undervoltage_since_boot) == (True, True)
    assert (before.undervoltage, before.undervoltage_since_boot) == (False, True)
    assert (now.slowed, before.slowed) == (("throttled",), ())


def test_a_hot_processor_is_told_from_a_weak_supply() -> None:
    found = board(throttled=recorded("get_throttled-pi4-soft-limit")).throttling
    assert found
    assert not found.undervoltage_since_boot
    assert found.slowed == found.slowed_since_boot == ("soft temperature limit",)


def test_no_bit_is_no_trouble() -> None:
    found = board(throttled=recorded("get_throttled-fine")).throttling
    assert found
    assert (found.bits, found.slowed_since_boot) == (0, ())


@pytest.mark.parametrize("text", ["", recorded("get_throttled-not-allowed")])
def test_a_sensor_that_does_not_answer_is_not_taken_for_a_good_answer(text: str) -> None:
    assert board(throttled=text).throttling is None


@pytest.mark.parametrize(
    ("said", "degrees"),
    [("48312\n", 48.312), ("48312\n51000\n", 51.0), (recorded("measure_temp"), 62.3), ("", None), ("-1500", -1.5)],
)
def test_the_hottest_sensor_counts(said: str, degrees: float | None) -> None:
    assert board(temperature=said).temperature == degrees


def test_an_emmc_tells_its_wear_and_an_sd_card_does_not(tmp_path: Path) -> None:
    for name, health in (("mmcblk0", ("pre_eol_info-emmc", "life_time-emmc")), ("mmcblk1", ()), ("mmcblk0boot0", ())):
        device = tmp_path / name / "device"
        device.mkdir(parents=True)
        for file in health:
            (device / file.removesuffix("-emmc")).write_text(recorded(file))
    said = asked(Board, "cards", {"/sys/block": tmp_path})
    assert board(cards=said).cards == (Card("mmcblk0", (1, 1), 1), Card("mmcblk1", (), 0))


@pytest.mark.parametrize(("said", "alarm"), [("0\n", False), ("1\n", True), ("", None)])
def test_the_kernels_own_voltage_sensor_is_read(said: str, alarm: bool | None) -> None:
    assert board(alarm=said).undervoltage_alarm is alarm


def test_a_pi_5_tells_what_its_supply_promised(tmp_path: Path) -> None:
    promised = tmp_path / "max_current"
    promised.write_bytes((5000).to_bytes(4, "big"))
    said = asked(Board, "supply", {"/proc/device-tree/chosen/power/max_current": promised})
    assert board(supply=said).supply == 5000


def test_disks_are_read_once_each() -> None:
    space = (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/root 30000000 10000000 18000000 36% /\n/dev/root 30000000 10000000 18000000 36% /\n"
    )
    inodes = "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/root 1000 100 900 10% /\n"
    state = Disks().parse({"space": space, "inodes": inodes})
    (disk,) = state.disks
    assert (disk.mounted_on, disk.free, disk.free_inodes) == ("/", 18000000, 900)
    assert disk.full == pytest.approx(0.4)


def test_a_file_system_without_inodes_has_room_for_files() -> None:
    inodes = "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/sda1 - - - - /\n"
    state = Disks().parse({"space": "head\n/dev/sda1 100 50 50 50% /mount with spaces", "inodes": inodes})
    assert [(disk.mounted_on, disk.inodes_full) for disk in state.disks] == [("/mount with spaces", 0.0)]


def test_links_and_listeners_are_read() -> None:
    state = Links().parse(
        {
            "links": "1: lo: <LOOPBACK,UP> mtu 65536 qdisc noqueue\n2: eth0@if7: <BROADCAST,UP> mtu 1400 qdisc mq",
            "listeners": "LISTEN 0 128 [::1]:2375 [::]:*\nLISTEN 0 4096 *:2376 *:*",
            "ufw": "ENABLED=yes",
        }
    )
    assert state.mtu == {"lo": 65536, "eth0": 1400}
    assert state.listeners == (Listener("[::1]", 2375), Listener("*", 2376))
    assert [listener.local for listener in state.listeners] == [True, False]
    assert state.ufw


@pytest.mark.parametrize(
    ("kind", "cgroup", "controllers", "unified"),
    [
        ("version 2", "cgroup2fs", "cpuset cpu io memory pids", True),
        ("version 1", "tmpfs", "cpu,cpuacct\ncpu\npids", False),
    ],
)
def test_both_versions_of_control_groups_are_read(kind: str, cgroup: str, controllers: str, unified: bool) -> None:
    state = Kernel().parse(dict.fromkeys(Kernel.questions, "") | {"cgroup": cgroup, "controllers": controllers})
    assert state.unified is unified
    assert {"cpu", "pids"} <= state.controllers


def test_links_that_could_not_be_made_are_told_from_links_that_were_not_tried() -> None:
    nothing = dict.fromkeys(Kernel.questions, "")
    assert Kernel().parse(nothing).links is None
    said = "/usr/sbin/ip\nmade bridge\nmade vxlan id 16000009 dstport 4790\n"
    assert Kernel().parse(nothing | {"links": said}).links == {"bridge", "vxlan"}


@pytest.mark.parametrize(
    ("installed", "setting", "unattended"),
    [
        ("ii ", "1", True),
        ("hi ", "always", True),
        ("", "1", False),
        ("ii ", "0", False),
        ("ii ", "", False),
        ("rc ", "1", False),
    ],
)
def test_upgrades_are_unattended_where_the_package_and_its_setting_are_there(
    installed: str, setting: str, unattended: bool
) -> None:
    line = f'APT::Periodic::Unattended-Upgrade "{setting}";\n' if setting else ""
    assert Upkeep().parse({"installed": installed, "setting": line}).unattended is unattended


def runtime(**answers: object) -> RuntimeState:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in answers.items()}
    state = parsed(Runtime, **texts)
    assert isinstance(state, RuntimeState)
    return state


def test_ports_are_read_of_containers_and_of_routed_services() -> None:
    container = {
        "Names": ["/web"],
        "State": "running",
        "Ports": [
            {"IP": "0.0.0.0", "PublicPort": 80, "PrivatePort": 80, "Type": "tcp"},  # noqa: S104 - read, not bound
            {"IP": "::", "PublicPort": 80, "PrivatePort": 80, "Type": "tcp"},
            {"IP": "127.0.0.1", "PublicPort": 81, "PrivatePort": 81, "Type": "tcp"},
            {"PrivatePort": 82, "Type": "tcp"},
        ],
    }
    ports = [
        {"Protocol": "udp", "PublishedPort": 53, "PublishMode": "ingress"},
        {"Protocol": "tcp", "PublishedPort": 54, "PublishMode": "host"},
    ]
    service = {"Spec": {"Name": "names"}, "Endpoint": {"Ports": ports}}
    stopped = {"Names": ["/pishelf-registry"], "State": "exited", "Ports": []}
    state = runtime(info={"Driver": "overlayfs"}, containers=[container, stopped], services=[service])
    assert state.published == (Published(80, "tcp", "web"), Published(53, "udp", "names", on_every_node=True))
    assert state.stopped == ("pishelf-registry",)


def test_an_engine_that_does_not_run_answers_nothing() -> None:
    state = runtime()
    assert (state.answers, state.published, state.node_address) == (False, (), "")


def test_overlay_networks_are_read_with_their_size() -> None:
    overlay = {"Name": "back", "Driver": "overlay", "Options": {"com.docker.network.driver.mtu": "1400"},
               "IPAM": {"Config": [{"Subnet": "10.201.1.0/24"}]}}  # fmt: skip
    assert runtime(networks=[overlay, {"Name": "host", "Driver": "host"}]).networks == (
        Overlay("back", 1400, ("10.201.1.0/24",)),
    )


@pytest.mark.parametrize(
    ("command", "hosts"),
    [
        ("/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock", True),
        ("/usr/sbin/dockerd --host tcp://0.0.0.0:2375", True),
        ("dockerd", False),
    ],
)
def test_a_unit_says_whether_it_tells_where_to_listen(command: str, hosts: bool) -> None:
    unit = f"ExecStart={{ path=/usr/sbin/dockerd ; argv[]={command} ; ignore_errors=no }}\nResult=success"
    assert runtime(unit=unit).unit_hosts is hosts


def test_what_was_reached_is_read() -> None:
    found = Reach().process(['{"reached": [["pi2", 7946]], "heard": [["pi3", 4789]]}'])
    assert (found.reached, found.heard) == ({("pi2", 7946)}, {("pi3", 4789)})


@given(st.sampled_from(PARTS), st.data())
def test_any_text_is_read_or_refused_and_never_crashes(part: type[Part[object]], data: st.DataObject) -> None:
    answers = {name: data.draw(st.text()) for name in part.questions}
    with contextlib.suppress(KeyError, ValueError, IndexError):
        part().parse(answers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["Swarm", "Cluster", "Ports", "Names", "Spec"]), inner)
    ),
    max_leaves=8,
)


@given(JSON, JSON, JSON, JSON)
def test_any_answer_of_an_engine_is_read_or_refused(info: object, one: object, two: object, three: object) -> None:
    with contextlib.suppress(KeyError, ValueError, IndexError):
        runtime(info=info, containers=one, services=two, networks=three)


@given(st.lists(st.text()) | JSON.map(lambda value: [json.dumps(value)]))
def test_any_answer_of_the_probe_is_read_or_refused(lines: list[str]) -> None:
    with contextlib.suppress(FactProcessError):
        Reach().process(lines)


def test_a_datagram_of_this_run_tells_its_sender_and_its_port() -> None:
    header = bytes([0x46]) + bytes(23)  # an IP header of 24 bytes
    udp = (1234).to_bytes(2, "big") + (4789).to_bytes(2, "big") + bytes(4)
    assert read(header + udp + b"token pi2 content", "token") == ("pi2", 4789, True)
    assert read(header + udp + b"token pi2 waiting", "token") == ("pi2", 4789, False)
    assert read(header + udp + b"other pi2 content", "token") is None


@given(st.binary(max_size=300))
def test_other_traffic_is_no_datagram_of_this_run(packet: bytes) -> None:
    assert read(packet, "token") is None
