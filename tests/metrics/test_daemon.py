"""The daemon on values: what a Pi, an engine and a swarm say becomes series."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.engine import METRICS_ADDRESS, TLS_FOLDER
from facts.metrics import FOLDER
from facts.tls import HTPASSWD
from image.registry.container import NAME
from image.stack.history import Revision
from image.stack.rollout import Rollout
from metrics import daemon
from metrics.daemon import Family, rendered
from pki.authority import Authority
from pki.key import private_pem

RECORDED = Path(__file__).parent.parent / "facts" / "recorded"
NOW = daemon.timestamp("2026-11-29T15:00:00Z")


def series(text: str) -> dict[str, float]:
    """What a text says, by name and labels as they are written."""
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    }


def written(*families: Family) -> dict[str, float]:
    return series(rendered(families))


def power(name: str) -> dict[str, float]:
    return written(*daemon.power((RECORDED / f"get_throttled-{name}").read_text()))


def test_under_voltage_now_is_told_apart_from_under_voltage_since_boot() -> None:
    now, before, fine = power("pi3-now"), power("pi3-since-boot"), power("fine")
    assert {name for name, value in now.items() if value} == {
        "pi_under_voltage", "pi_under_voltage_since_boot", "pi_throttled", "pi_throttled_since_boot"
    }  # fmt: skip
    assert {name for name, value in before.items() if value} == {
        "pi_under_voltage_since_boot", "pi_throttled_since_boot"
    }  # fmt: skip
    assert not any(fine.values())
    assert len(fine) == len(now) == 8


def test_a_soft_temperature_limit_is_neither_throttling_nor_under_voltage() -> None:
    assert {name for name, value in power("pi4-soft-limit").items() if value} == {
        "pi_soft_temperature_limit", "pi_soft_temperature_limit_since_boot"
    }  # fmt: skip


@pytest.mark.parametrize("said", ["", (RECORDED / "get_throttled-not-allowed").read_text()])
def test_a_pi_that_cannot_be_asked_for_its_power_is_not_said_to_be_fine(said: str) -> None:
    assert rendered(daemon.power(said)) == ""


def test_a_model_is_the_device_trees_then_the_firmwares_and_never_absent() -> None:
    pi4 = (RECORDED / "model-pi3").read_text()
    assert written(daemon.model(pi4, "Some PC")) == {'pi_model_info{model="Raspberry Pi 3 Model B Rev 1.2"}': 1}
    assert written(daemon.model("", "Some PC\n")) == {'pi_model_info{model="Some PC"}': 1}
    assert written(daemon.model("", "")) == {'pi_model_info{model="virtual Pi"}': 1}


@pytest.mark.parametrize(
    ("running", "installed", "newer"),
    [
        ("6.12.25+rpt-rpi-v8", ["6.12.25+rpt-rpi-v8", "6.12.25+rpt-rpi-2712"], False),
        ("6.12.25+rpt-rpi-v8", ["6.12.34+rpt-rpi-2712", "6.12.25+rpt-rpi-v8"], False),
        ("6.12.25+rpt-rpi-v8", ["6.12.34+rpt-rpi-v8"], True),
        ("6.6.9+rpt-rpi-v8", ["6.12.1+rpt-rpi-v8"], True),
        ("6.12.1+rpt-rpi-v8", ["6.6.9+rpt-rpi-v8"], False),
        ("6.1.0-30-arm64", ["6.1.0-9-arm64", "6.1.0-31-arm64"], True),
        ("6.18.44-fc-v669", [], False),
    ],
)
def test_a_newer_kernel_of_the_same_kind_waits_for_a_reboot(running: str, installed: list[str], newer: bool) -> None:
    assert written(daemon.reboot_required(False, running, installed)) == {"pi_reboot_required": newer}
    assert written(daemon.reboot_required(True, running, installed)) == {"pi_reboot_required": 1}


def test_errors_of_a_file_system_are_counted_by_device() -> None:
    found = written(daemon.filesystem_errors({"mmcblk0p2": "3\n", "sda1": "0\n", "gone": ""}))
    assert found == {'pi_filesystem_errors{device="mmcblk0p2"}': 3, 'pi_filesystem_errors{device="sda1"}': 0}


def test_a_cards_life_is_told_where_it_says_it() -> None:
    emmc = {"name": "BJTD4R\n", "date": "03/2021\n", "life_time": (RECORDED / "life_time-emmc").read_text()}
    worn, card = {**emmc, "life_time": "0x02 0x0b\n"}, {"name": "SD32G", "date": "01/2023", "life_time": ""}
    found = written(*daemon.cards({"mmcblk0": card, "mmcblk1": worn, "mmcblk2": emmc}))
    used = {name: value for name, value in found.items() if name.startswith("pi_card_life_used_ratio")}
    assert used == {
        'pi_card_life_used_ratio{device="mmcblk1"}': 1.0,
        'pi_card_life_used_ratio{device="mmcblk2"}': 0.1,
    }
    assert found['pi_card_info{device="mmcblk0",name="SD32G",date="01/2023"}'] == 1
    unknown = written(*daemon.cards({"mmcblk0": {**card, "life_time": "0x00 0x00"}}))
    assert not any(name.startswith("pi_card_life_used_ratio") for name in unknown)


def test_the_end_of_a_certificate_is_read_as_openssl_writes_it() -> None:
    assert daemon.expiry("notAfter=Jan  1 00:00:00 1970 GMT\n") == 0
    assert daemon.expiry("notAfter=Nov  9 14:21:10 2027 GMT\n") == 1825770070


@given(st.text(), st.text())
def test_whatever_a_label_says_it_stays_one_line_that_is_read_back(one: str, two: str) -> None:
    text = rendered([daemon.gauge("pi_card_info", "What.", 1, name=one, date=two)])
    lines = [line for line in text.split("\n") if line.startswith("pi_")]
    (labels,) = re.findall(r"^pi_card_info\{(.*)\} 1$", lines[0], re.DOTALL)
    said = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels, re.DOTALL)
    undone = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
    assert {name: re.sub(r"\\.", lambda escape: undone[escape[0]], value) for name, value in said} == {
        "name": one,
        "date": two,
    }


# As an engine writes it; cut.
EXPOSITION = """\
# HELP engine_daemon_container_states_containers The count of containers in various states
# TYPE engine_daemon_container_states_containers gauge
engine_daemon_container_states_containers{state="running"} 2
# HELP engine_daemon_network_actions_seconds The number of seconds it takes to process each network action
# TYPE engine_daemon_network_actions_seconds histogram
engine_daemon_network_actions_seconds_bucket{action="connect",le="0.005"} 1
engine_daemon_network_actions_seconds_bucket{action="connect",le="+Inf"} 1
engine_daemon_network_actions_seconds_sum{action="connect"} 0.002
engine_daemon_network_actions_seconds_count{action="connect"} 1
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 120
# HELP swarm_node_manager Whether this node is a manager or not
# TYPE swarm_node_manager gauge
swarm_node_manager 1
"""


def test_of_an_engines_metrics_its_own_are_copied_with_their_types_and_without_buckets() -> None:
    text = daemon.copied(EXPOSITION, "engine_", "swarm_")
    assert series(text) == {
        'engine_daemon_container_states_containers{state="running"}': 2,
        'engine_daemon_network_actions_seconds_sum{action="connect"}': 0.002,
        'engine_daemon_network_actions_seconds_count{action="connect"}': 1,
        "swarm_node_manager": 1,
    }
    assert "# TYPE engine_daemon_network_actions_seconds histogram\n" in text
    assert "# HELP swarm_node_manager Whether this node is a manager or not\n" in text
    assert "go_" not in text


def node(name: str, state: str = "ready", manager: Mapping[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """An entry of GET /nodes; cut."""
    address = f"192.168.1.1{name[-1:]}"
    found = {
        "ID": f"id-{name}",
        "CreatedAt": "2026-01-01T00:00:00.5Z",
        "Spec": {"Role": "manager" if manager else "worker", "Availability": "active"},
        "Description": {"Hostname": name},
        "Status": {"State": state, "Addr": address},
        **other,
    }
    return found if manager is None else {**found, "ManagerStatus": {"Addr": f"{address}:2377", **manager}}


LEADER = {"Leader": True, "Reachability": "reachable"}
NODES = [
    node("pi1", manager=LEADER, Status={"State": "ready", "Addr": "0.0.0.0"}),  # noqa: S104
    node("pi2", "down", manager={"Reachability": "unreachable"}),
    node("pi3", manager={"Reachability": "reachable"}),
    node("pi4", "down"),
]


def test_each_node_is_one_series_with_its_place_in_the_swarm() -> None:
    found = written(*daemon.members(NODES))
    assert found[
        'swarm_member_ready{member="pi1",role="manager",availability="active",address="192.168.1.11"}'
    ] == 1  # fmt: skip
    assert found['swarm_member_ready{member="pi4",role="worker",availability="active",address="192.168.1.14"}'] == 0
    assert [found[f'swarm_member_reachable{{member="pi{number}"}}'] for number in (1, 2, 3)] == [1, 0, 1]
    assert (found["swarm_managers"], found["swarm_managers_reachable"]) == (3, 2)
    assert len(found) == 4 + 3 + 2


def test_a_node_that_joined_anew_is_not_two_and_one_without_a_name_is_none() -> None:
    phantom = node("pi4", "down", ID="old", Spec={"Role": "worker", "Availability": "drain"})
    again = node("pi4", CreatedAt="2026-02-01T00:00:00Z")
    nameless = node("", "unknown", Description={})
    for nodes in ([phantom, again, nameless], [again, nameless, phantom]):
        found = written(*daemon.members(nodes))
        assert [name for name in found if "member_ready" in name] == [
            'swarm_member_ready{member="pi4",role="worker",availability="active",address="192.168.1.14"}'
        ]


def test_a_manager_that_died_and_joined_anew_by_its_old_name_still_has_its_old_vote() -> None:
    dead = node("pi3", "down", manager={"Reachability": "unreachable"}, ID="old")
    alive = [node("pi1", manager=LEADER), node("pi2", manager={"Reachability": "reachable"}), NODES[2]]
    found = written(*daemon.members([dead, *alive]))
    assert (found["swarm_managers"], found["swarm_managers_reachable"]) == (4, 3)
    assert found['swarm_member_reachable{member="pi3"}'] == 1


def test_a_manager_is_known_by_its_engines_own_metrics() -> None:
    assert daemon.manages(EXPOSITION)
    assert not daemon.manages(EXPOSITION.replace("swarm_node_manager 1", "swarm_node_manager 0"))
    assert not daemon.manages("")


def test_the_leader_tells_how_the_swarm_is_and_without_one_nobody() -> None:
    assert daemon.speaker(NODES) == "192.168.1.11"
    assert daemon.speaker([*NODES[1:], node("pi5", manager={"Reachability": "reachable"})]) == ""
    assert daemon.speaker([node("pi4")]) == ""


def test_for_a_leader_that_is_drained_another_manager_tells_which_is_there_and_not_drained() -> None:
    drained = {"Spec": {"Role": "manager", "Availability": "drain"}}
    nodes = [
        node("pi1", manager=LEADER, **drained),
        node("pi2", "down", manager={"Reachability": "reachable"}),
        node("pi3", manager={"Reachability": "unreachable"}),
        node("pi4", manager={"Reachability": "reachable"}, **drained),
        node("pi7", manager={"Reachability": "reachable"}),
        node("pi6", manager={"Reachability": "reachable"}),
        node("pi5"),
    ]
    assert daemon.speaker(nodes) == "192.168.1.16"
    assert daemon.speaker(nodes[:4]) == "192.168.1.11"


def test_an_address_of_this_machine_is_its_own_and_another_is_not() -> None:
    assert daemon.is_ours("127.0.0.1")
    with suppress(OSError):  # a machine without any route
        assert not daemon.is_ours("198.18.255.254")


def service(name: str, **mode: Any) -> dict[str, Any]:
    return {"ID": f"id-{name}", "Version": {"Index": 7}, "Spec": {"Name": f"shelf_{name}", "Mode": mode}}


def task(service: str, node: str, state: str, desired: str = "running", ago: float = 1, **more: Any) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(NOW - ago))
    status = {"State": state, "Timestamp": at}
    return {"ServiceID": f"id-{service}", "NodeID": f"id-{node}", "DesiredState": desired, "Status": status, **more}


def counts(listed: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Desired, running and failed, by service."""
    found = written(*daemon.services(listed, tasks, NODES, NOW))
    names = [one["Spec"]["Name"] for one in listed]
    return {
        name: [
            found[f'swarm_service_{what}{{service="{name}"}}']
            for what in ("tasks_desired", "tasks_running", "task_failures")
        ]
        for name in names
        if f'swarm_service_tasks_desired{{service="{name}"}}' in found
    }


def test_a_replicated_service_wants_its_replicas_wherever_they_are() -> None:
    web = service("web", Replicated={"Replicas": 2})
    tasks = [task("web", "pi1", "running", Slot=1), task("web", "pi3", "preparing", Slot=2)]
    assert counts([web], tasks) == {"shelf_web": [2, 1, 0]}
    assert counts([web], []) == {"shelf_web": [2, 0, 0]}


def test_a_task_on_a_node_that_is_down_does_not_run_whatever_was_last_heard() -> None:
    tasks = [task("web", "pi4", "running", Slot=1)]
    assert counts([service("web", Replicated={"Replicas": 1})], tasks) == {"shelf_web": [1, 0, 0]}


def test_a_global_service_wants_one_on_each_node_also_while_one_waits_for_its_restart() -> None:
    tasks = [
        task("all", "pi1", "running"),
        task("all", "pi3", "failed", "shutdown"),
        task("all", "pi3", "ready", "ready"),
    ]
    assert counts([service("all", Global={})], tasks) == {"shelf_all": [2, 1, 1]}


def test_only_what_failed_within_ten_minutes_counts_and_what_was_shut_down_does_not() -> None:
    tasks = [
        task("web", "pi1", "failed", "shutdown", ago=599, Slot=1),
        task("web", "pi1", "rejected", "shutdown", ago=10, Slot=1),
        task("web", "pi1", "failed", "shutdown", ago=602, Slot=1),
        task("web", "pi1", "failed", "shutdown", ago=-86400, Slot=1),  # of a Pi whose clock is wrong
        task("web", "pi1", "shutdown", "shutdown", ago=10, Slot=1),
        task("gone", "pi1", "failed", "shutdown", ago=10, Slot=1),
    ]
    assert counts([service("web", Replicated={"Replicas": 1})], tasks) == {"shelf_web": [1, 0, 2]}


def test_an_update_is_told_while_it_goes_on_and_not_afterwards() -> None:
    def updated(name: str, state: str) -> dict[str, Any]:
        status = {"State": state, "StartedAt": "2026-11-29T14:59:00.123456789Z", "Message": "…"}
        return {**service(name, Global={}), "UpdateStatus": status}

    under_way = [updated("web", "updating"), updated("gateway", "rollback_started")]
    over = [updated("a", "completed"), updated("b", "paused"), updated("c", "rollback_completed"), service("new")]
    assert written(daemon.updates([*over, *under_way])) == {
        'swarm_service_update_started_timestamp_seconds{service="shelf_gateway"}': NOW - 60,
        'swarm_service_update_started_timestamp_seconds{service="shelf_web"}': NOW - 60,
    }
    told = written(*daemon.services([service("web", Global={}), *under_way], [], NODES, NOW))
    assert 'swarm_service_update_started_timestamp_seconds{service="shelf_gateway"}' in told


def test_a_job_which_ends_is_short_of_nothing() -> None:
    assert counts([service("job", ReplicatedJob={"MaxConcurrent": 1})], []) == {}


def config(number: int, state: str = "good", packed: bool = False) -> dict[str, Any]:
    """A revision as image/stack/history.py writes it, and the Engine API gives it."""
    one = Revision(
        number, "good", f"2026-01-0{number}T03:04:05+00:00", "ann@desk", "abc1234", "", Rollout("services: {}\n", {})
    )
    data = gzip.compress(one.pack()) if packed else one.pack()
    labels = {**one.labels, "pishelf.state": state}
    return {"ID": str(number), "Spec": {"Name": one.name, "Labels": labels, "Data": base64.b64encode(data).decode()}}


def test_the_last_five_revisions_are_told_with_who_when_and_how_they_went() -> None:
    found = written(daemon.revisions([config(number, packed=number == 6) for number in range(1, 8)]))
    assert len(found) == 5
    label = 'revision="6",state="good",by="ann@desk",source="abc1234"'
    assert found[f"pishelf_revision_timestamp_seconds{{{label}}}"] == daemon.timestamp("2026-01-06T03:04:05Z")
    assert not any('revision="2"' in name for name in found)


def test_a_revision_that_cannot_be_read_hides_no_other() -> None:
    broken = config(9)
    broken["Spec"]["Data"] = base64.b64encode(b"\x1f\x8bnonsense").decode()
    found = written(daemon.revisions([config(1, "failed"), broken]))
    assert [name for name in found if 'state="failed"' in name] == list(found)


def test_a_registry_is_asked_in_its_own_network_and_only_while_it_runs() -> None:
    def container(address: str) -> dict[str, Any]:
        return {"NetworkSettings": {"Networks": {"bridge": {"IPAddress": address}}}}

    assert daemon.address(container("172.17.0.2")) == "172.17.0.2"
    with pytest.raises(OSError, match="no address"):
        daemon.address(container(""))


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers 200 to `/metrics` with what was asked, and 404 to all else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(self.path.encode() * 100_000)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its framework's name
        pass


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield "127.0.0.1", serving.server_port
        finally:
            serving.shutdown()
            thread.join()


def test_a_long_answer_is_read_whole_and_another_status_is_no_answer() -> None:
    with server() as at:
        assert daemon.ask("/metrics", at) == b"/metrics" * 100_000
        with pytest.raises(OSError, match="/other answers 404"):
            daemon.ask("/other", at)
    with pytest.raises(OSError, match=r"\[Errno"):
        daemon.ask("/metrics", at)


def test_what_is_no_answer_at_all_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises(OSError, match=r"answers nothing|reset"):
            daemon.ask("/metrics", listener.getsockname())
        thread.join()


@contextmanager
def greeter(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a TLS server with a certificate of its own, and what became of each who came."""
    own, file = Authority.create("a registry"), folder / "both.pem"
    file.write_bytes(own.pem + private_pem(own.key()))
    context, became = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str]()
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connection.settimeout(10)
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    became.append(tls.recv(1).decode() or "left")
            except OSError as error:
                became.append(repr(error))

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", became
        thread.join()


def test_a_registry_that_is_tried_has_no_handshake_to_complain_of(tmp_path: Path) -> None:
    with greeter(tmp_path) as (address, became):
        assert daemon.greets(address)
    assert became == ["left"]
    assert not daemon.greets(address)


def test_who_takes_connections_and_speaks_no_tls_is_no_registry() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        assert not daemon.greets(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_an_engine_whose_metrics_do_not_answer_is_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(path: str, at: object = None) -> bytes:
        if path == "/metrics":
            raise OSError("refused")
        return b"OK"

    monkeypatch.setattr(daemon, "_engine_runs", lambda: True)
    monkeypatch.setattr(daemon, "ask", ask)
    assert series(daemon.engine()) == {"pi_engine_up": 0}


def test_a_name_that_no_encoding_has_does_not_end_the_daemon(tmp_path: Path) -> None:
    text = rendered([daemon.gauge("pi_card_info", "What.", 1, name=json.loads('"\\ud800 é"'))])
    daemon.publish(tmp_path / "host.prom", text)
    assert 'name="? é"' in (tmp_path / "host.prom").read_bytes().decode()


def test_a_file_is_replaced_whole_and_goes_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "swarm.prom"
    daemon.publish(path, "one 1\n")
    daemon.publish(path, "two 2\n")
    assert [file.name for file in tmp_path.iterdir()] == ["swarm.prom"]
    assert path.read_text() == "two 2\n"
    daemon.publish(path, "")
    daemon.publish(path, "")
    assert list(tmp_path.iterdir()) == []


def test_what_the_daemon_repeats_is_what_the_others_say() -> None:
    """It runs alone on a host, where it can import nothing."""
    address, port = daemon.ENGINE_METRICS
    assert f"{address}:{port}" == METRICS_ADDRESS
    assert str(daemon.TLS) == TLS_FOLDER
    assert str(daemon.HTPASSWD) == HTPASSWD
    assert daemon.REGISTRY == NAME
    labels = Revision(3, "good", "", "", "", "", Rollout("", {})).labels
    assert daemon.REVISIONS in [f"{name}={value}" for name, value in labels.items()]
    assert (labels["pishelf.revision"], labels["pishelf.state"]) == ("3", "good")
    root = Path(__file__).parents[2]
    config = (root / "Registry/root/etc/distribution/config.yml").read_text()
    assert f"addr: :{daemon.REGISTRY_METRICS_PORT}" in config
    stack = (root / "stack/stack.yml.j2").read_text()
    assert f"--collector.textfile.directory=/host{FOLDER}\n" in stack


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ID", "Spec", "Status", "Name", "Mode"]), inner),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_any_answer_of_an_engine_is_read_or_refused_and_never_ends_the_daemon(one: Any, two: Any, three: Any) -> None:
    for read in (
        lambda: rendered(daemon.members(one)),
        lambda: rendered(daemon.services(one, two, three, NOW)),
        lambda: rendered([daemon.revisions(one)]),
        lambda: rendered([daemon.updates(one)]),
        lambda: daemon.speaker(one),
        lambda: daemon.address(one),
    ):
        with suppress(*daemon.UNEXPECTED):
            json.dumps(read())
