"""What the checks say, on values: one cluster in which all is well, and one trouble at a time."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from doctor.checks.hardware import amperes
from doctor.dial import Door
from doctor.evidence import Evidence, HostEvidence, Pull
from doctor.finding import Finding, Status
from doctor.registry import Image, Stock
from doctor.report import CHECKS, examine
from facts.board import Board, Card, Throttling
from facts.disks import Disk, Disks, DisksState
from facts.engine import Engine
from facts.firewall import Firewall, FirewallState
from facts.host import Host
from facts.kernel import Kernel
from facts.links import Links, Listener
from facts.metrics import Metrics
from facts.network import NM_CONF, Network
from facts.part import Part
from facts.reach import Reached
from facts.runtime import Overlay, Published, Runtime
from facts.swarm import Membership, Swarm, SwarmNode, SwarmState
from facts.tls import Tls, TlsState
from facts.upkeep import Upkeep
from operations.network import DOCKERS_INTERFACES
from pki.authority import Authority, Identities

RECORDED = Path(__file__).parent.parent / "facts" / "recorded"
PIS = {"pi1": "192.168.1.11", "pi2": "192.168.1.12", "pi3": "192.168.1.13"}
NOW = dt.datetime.now(dt.UTC)
CA = Authority.create("shelf")
OTHER_CA = Authority.create("stranger")
SECURE = {"hosts": ["fd://", "tcp://0.0.0.0:2376"], "tls": True, "tlsverify": True, "log-driver": "local"}


def said(part: type[Part[Any]], **answers: object) -> Any:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in answers.items()}
    return part().parse({name: texts.get(name, "") for name in part.questions})


def certified(name: str, address: str, authority: Authority = CA) -> TlsState:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    certificate = authority.sign_server(csr, Identities((name, "localhost"), (address, "127.0.0.1")))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    state: TlsState = said(
        Tls,
        ca=authority.pem.decode(),
        server_certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        public_key=public.decode(),
    )
    return state


TLS = {name: certified(name, address) for name, address in PIS.items()}


def swarm_state(name: str, nodes: Mapping[str, SwarmNode]) -> SwarmState:
    leads = name == "pi1"
    membership = Membership("active", f"id-{name}", "manager" if leads else "worker", "cluster" if leads else "")
    return SwarmState(
        membership, "26.1.5+dfsg1", autolocked=False, advertised="", data_path="", nodes=nodes if leads else {}
    )


NODES = {
    f"id-{name}": SwarmNode(
        f"id-{name}", name, address, "manager" if name == "pi1" else "worker", "ready",
        reachable=name == "pi1", leads=name == "pi1", version="26.1.5+dfsg1",
    )
    for name, address in PIS.items()
}  # fmt: skip


def healthy(name: str) -> HostEvidence:
    """A Pi 4 on which all is well."""
    address = PIS[name]
    others = [other for other in PIS if other != name]
    return HostEvidence(
        name=name,
        address=address,
        role="manager" if name == "pi1" else "worker",
        parts={
            Board: said(
                Board, model="Raspberry Pi 4 Model B Rev 1.5", page_size="4096", throttled="throttled=0x0",
                temperature="48312", cards="mmcblk0 0x01 0x01 0x01",
            ),
            Kernel: said(
                Kernel, system='PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"',
                cgroup="cgroup2fs", controllers="cpuset cpu io memory pids", overlay="nodev overlay",
                links="/sbin/ip\nmade vxlan\nmade bridge\nmade veth", iptables="iptables v1.8.11 (nf_tables)",
            ),
            Disks: DisksState((Disk("/", 30_000_000, 20_000_000, 1000, 900),)),
            Links: said(Links, links="2: eth0: <UP> mtu 1500 qdisc mq", listeners="LISTEN 0 4096 *:2376 *:*"),
            Network: said(
                Network, addresses=f"2: eth0    inet {address}/24 scope global eth0", units="active\n-\n-",
                files=f"{NM_CONF}:unmanaged-devices+={';'.join(f'interface-name:{it}' for it in DOCKERS_INTERFACES)}",
            ),
            Firewall: FirewallState({}, enabled=True, table=True, loaded=True, controller="", routes=()),
            Runtime: said(
                Runtime, key="600 root",
                info={
                    "Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
                    "Swarm": {"NodeAddr": address, "Cluster": {"DefaultAddrPool": ["10.201.0.0/16"]}},
                },
            ),
            Upkeep: said(Upkeep, installed="ii ", setting='… "1";'),
            Engine: said(
                Engine, programs="/usr/bin/curl", packages="hi  docker.io 26.1.5\nhi  docker-cli 26.1.5",
                daemon_json=SECURE,
                unit="ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no",
            ),
            Tls: TLS[name],
            Metrics: said(
                Metrics, unit="[Unit]", state="ActiveState=active\nUnitFileState=enabled", written="1000\n1012"
            ),
            Swarm: swarm_state(name, NODES),
            Host: said(
                Host, hostname=name, machine="aarch64", architecture="arm64", time=str(NOW.timestamp()),
                clock="NTP=yes\nCanNTP=yes\nNTPSynchronized=yes", ipvs="yes", memory="yes",
                routes="192.168.1.0/24 dev eth0",
            ),
        },
        reached=Reached(
            frozenset((other, port) for other in others for port in (7946, 2377) if port == 7946 or other == "pi1"),
            frozenset((other, port) for other in others for port in (7946, 4789)),
        ),
        door=Door("refused", "closed", ""),
        pull=Pull(),
    )  # fmt: skip


# Made once: the clock's offset is measured when a host is read.
HEALTHY = {name: healthy(name) for name in PIS}
WELL = Evidence(
    hosts=tuple(HEALTHY.values()),
    inventory=PIS,
    managers=("pi1",),
    registry_node="pi1",
    prometheus_node="pi2",
    overlay_pool="10.201.0.0/16",
    firewall=True,
    metrics=True,
    ca=CA.pem.decode(),
    now=NOW,
    stock=Stock(Image("192.168.1.11:5000/busybox@sha256:0", 1000)),
    registry_started=True,
)


def with_host(host: HostEvidence, **cluster: Any) -> Evidence:
    """The cluster with this host in the place of its healthy self."""
    hosts = tuple(host if each.name == host.name else each for each in WELL.hosts)
    return replace(WELL, hosts=hosts, **cluster)


def changed(name: str, part: type[Part[Any]], **values: Any) -> HostEvidence:
    """A host of which one part says something else."""
    host = HEALTHY[name]
    return replace(host, parts={**host.parts, part: replace(host.read(part), **values)})


def found(evidence: Evidence, host: str, check: str) -> Finding:
    return examine(evidence).findings[host][check]


def only(evidence: Evidence, host: str, check: str, status: Status, *words: str) -> Finding:
    """The finding of a check, which is the only trouble in the cluster, and says these words."""
    troubles = [
        (name, each) for each, name, one in examine(evidence).each() if one.status in (Status.WARNING, Status.FAILURE)
    ]
    assert troubles == [(host, check)]
    finding = found(evidence, host, check)
    assert finding.status is status
    assert finding.why
    assert finding.fix
    for word in words:
        assert word in f"{finding.value} {finding.why} {finding.fix}"
    return finding


def test_a_healthy_cluster_is_fine_in_every_check() -> None:
    report = examine(WELL)
    assert [row for row in report.each() if row[2].status not in (Status.OK, Status.NOT_APPLICABLE)] == []
    assert (report.verdict, report.exit_code) == (Status.OK, 0)


def test_nothing_that_a_blank_host_says_is_a_failure() -> None:
    blank = tuple(
        replace(
            host,
            parts={
                part: value
                for part, value in host.parts.items()
                if part in (Board, Kernel, Disks, Links, Network, Host)
            }
            | {part: said(part) for part in (Runtime, Firewall, Upkeep, Engine, Tls, Swarm, Metrics)},
            door=Door("closed", "closed", None),
            pull=None,
        )
        for host in WELL.hosts
    )
    report = examine(replace(WELL, hosts=blank, ca="", stock=None))
    assert report.exit_code == 0
    for check in ("engine", "engine version", "certificate", "2376/tcp", "swarm", "availability", "registry"):
        assert report.findings["pi2"][check].status is Status.NOT_APPLICABLE, check
    assert report.findings["pi2"]["4789/udp"].status is Status.OK


def test_a_silent_host_is_one_failure_and_the_rest_of_it_is_unknown() -> None:
    silent = HostEvidence("pi3", PIS["pi3"], "worker", silence="nothing answers at 192.168.1.13, port 22: timed out")
    evidence = with_host(silent)
    only(evidence, "pi3", "answers", Status.FAILURE, "timed out", "192.168.1.13")
    assert found(evidence, "pi3", "clock").status is Status.UNKNOWN
    assert found(evidence, "pi1", "4789/udp").status is Status.OK
    assert found(evidence, "pi1", "entries").status is Status.OK


def test_a_host_without_sudo_is_one_failure_of_its_own() -> None:
    mute = replace(
        HEALTHY["pi3"],
        parts={},
        refusal="a password is required",
        reached=None,
        door=Door("refused", "closed", ""),
        pull=None,
    )
    only(with_host(mute), "pi3", "answers", Status.FAILURE, "password is required", "sudo")


def test_a_part_that_could_not_be_read_makes_its_checks_unknown_and_no_others() -> None:
    host = HEALTHY["pi2"]
    parts = {part: value for part, value in host.parts.items() if part is not Board}
    evidence = with_host(replace(host, parts=parts, unread={Board: "reading Board: garbage"}))
    assert found(evidence, "pi2", "temperature") == Finding(Status.UNKNOWN, "", "reading Board: garbage")
    assert found(evidence, "pi2", "clock").status is Status.OK


def kernel(**values: Any) -> HostEvidence:
    return changed("pi2", Kernel, **values)


def links(**values: Any) -> HostEvidence:
    return changed("pi2", Links, **values)


def runtime(**values: Any) -> HostEvidence:
    return changed("pi2", Runtime, **values)


def network(**values: Any) -> HostEvidence:
    return changed("pi2", Network, **values)


def leased(address: str) -> HostEvidence:
    """pi2 with this address from DHCP."""
    lines = f"2: eth0    inet {address}/24 scope global dynamic eth0"
    return network(interfaces=said(Network, addresses=lines).interfaces)


def tunnelled(mtu: int | None) -> HostEvidence:
    """pi2 on a link of 1400 bytes, with an overlay network."""
    host = runtime(networks=(Overlay("ingress", mtu, ()),))
    return replace(host, parts={**host.parts, Links: replace(host.read(Links), mtu={"eth0": 1400})})


def board(**values: Any) -> HostEvidence:
    return changed("pi2", Board, **values)


def engine(**values: Any) -> HostEvidence:
    return changed("pi2", Engine, **values)


def without_curl() -> HostEvidence:
    host = engine(programs=frozenset())
    return replace(host, parts={**host.parts, Runtime: said(Runtime, key="600 root")})


def daemon(**values: Any) -> HostEvidence:
    return engine(daemon_json={**SECURE, **values})


def machine(**values: Any) -> HostEvidence:
    return changed("pi3", Host, **values)


def clock(**values: Any) -> HostEvidence:
    return machine(clock=replace(HEALTHY["pi3"].read(Host).clock, **values))


def disk(free: int, free_inodes: int = 900) -> HostEvidence:
    return changed("pi2", Disks, disks=(Disk("/var/lib/docker", 1_000_000, free, 1000, free_inodes),))


W, F = Status.WARNING, Status.FAILURE


@pytest.mark.parametrize(
    ("host", "check", "status", "words"),
    [
        (board(throttling=Throttling(0x50005 & ~4 & ~(1 << 18))), "under-voltage", F, ["now", "3 A"]),
        (board(throttling=Throttling(0x10000)), "under-voltage", W, ["since boot", "supply"]),
        (board(throttling=None, undervoltage_alarm=True), "under-voltage", F, ["now"]),
        (board(throttling=Throttling(0x80008)), "throttling", W, ["soft temperature limit now"]),
        (board(throttling=Throttling(0x40000)), "throttling", W, ["throttled since boot"]),
        (board(temperature=81.0), "temperature", W, ["81 °C", "heat sink"]),
        (board(temperature=85.5), "temperature", F, ["86 °C"]),
        (board(model="Raspberry Pi 5 Model B Rev 1.0", supply=3000), "power supply", W, ["3 A", "5 A"]),
        (board(cards=(Card("mmcblk0", (9, 2), 1),)), "card wear", W, ["80–90 % used"]),
        (board(cards=(Card("mmcblk0", (2, 1), 2),)), "card wear", W, ["10–20 % used"]),
        (board(cards=(Card("mmcblk0", (11, 1), 1),)), "card wear", F, ["past its life"]),
        (board(cards=(Card("mmcblk0", (1, 1), 3),)), "card wear", F, ["any day"]),
        (kernel(system="Fedora Linux 42", family=("fedora",)), "system", F, ["Fedora", "Debian"]),
        (kernel(system="Debian GNU/Linux 11", release="11"), "system", W, ["newer release"]),
        (kernel(controllers=frozenset({"cpuset", "cpu", "memory"})), "control groups", W, ["pids"]),
        (kernel(links=frozenset({"bridge", "veth"})), "vxlan", F, ["overlay networks"]),
        (
            kernel(links=frozenset({"bridge", "veth"}), family=("ubuntu", "debian"), release="22.04"),
            "vxlan",
            F,
            ["linux-modules-extra-raspi"],
        ),
        (kernel(overlay=False, links=frozenset({"vxlan", "veth"})), "container kernel", F, ["overlay, bridge"]),
        (engine(mixed_iptables=True), "iptables", W, ["iptables-legacy-save"]),
        (kernel(iptables="legacy", nft_rules=7), "iptables", W, ["iptables-nft-save"]),
        (disk(free=100_000), "disk space", W, ["/var/lib/docker", "90%"]),
        (disk(free=10_000), "disk space", F, ["99%", "prune"]),
        (disk(free=500_000, free_inodes=10), "inodes", F, ["10 inodes free"]),
        (network(nm_conf="unmanaged-devices+=interface-name:veth*"), "left alone", W, ["docker*", "NetworkManager"]),
        (network(active=frozenset({"dhcpcd"})), "left alone", W, ["dhcpcd"]),
        (changed("pi2", Firewall, loaded=False), "firewall", W, ["changed"]),
        (changed("pi2", Firewall, loaded=False, table=False), "firewall", W, ["open to all"]),
        (changed("pi2", Firewall, enabled=False), "firewall", W, ["boot"]),
        (links(mtu={"eth0": 1400}), "mtu", W, ["1350", "others 1500"]),
        (leased("192.168.1.77"), "address", F, ["not 192.168.1.12", "192.168.1.77"]),
        (links(listeners=(Listener("0.0.0.0", 2375),)), "2375/tcp", F, ["root"]),  # noqa: S104 - read, not bound
        (links(listeners=(Listener("127.0.0.1", 2375),)), "2375/tcp", W, ["open locally"]),
        (engine(interrupted=True), "engine", F, ["half installed"]),
        (engine(active=False), "engine", F, ["journalctl"]),
        (engine(enabled=False, unread=("daemon.json",)), "engine", W, ["not at boot", "daemon.json changed"]),
        (runtime(answers=False), "engine", F, ["does not answer"]),
        (without_curl(), "engine", W, ["curl"]),
        (engine(daemon_json=None, daemon_json_error="it is not JSON"), "daemon.json", F, ["not JSON"]),
        (daemon(tlsverify=False), "daemon.json", F, ["tcp without tlsverify", "root"]),
        (daemon(**{"live-restore": True}), "daemon.json", F, ["live-restore"]),
        (daemon(**{"firewall-backend": "nftables"}), "daemon.json", F, ["nftables"]),
        (daemon(iptables=False), "daemon.json", F, ["iptables"]),
        (daemon(**{"insecure-registries": ["192.168.1.11:5000"]}), "daemon.json", W, ["192.168.1.11:5000"]),
        (daemon(**{"log-driver": "json-file"}), "container logs", W, ["card"]),
        (runtime(unit_hosts=True), "daemon.json", F, ["twice"]),
        (runtime(storage_driver="vfs"), "storage", W, ["slow"]),
        (runtime(storage_driver="overlay2", containerd_store=False), "storage", W, ["multi-platform"]),
        (runtime(key_mode="644 root"), "private key", F, ["644"]),
        (runtime(node_address="192.168.1.99"), "advertised address", W, ["192.168.1.99", "192.168.1.12"]),
        (runtime(networks=(Overlay("back", 1480, ()),)), "mtu", W, ["back", "1450"]),
        (tunnelled(None), "mtu", W, ["ingress", "1350"]),
        (runtime(networks=(Overlay("back", None, ("192.168.0.0/16",)),)), "address pool", F, ["192.168.1.0/24"]),
        (runtime(pools=("192.168.0.0/16",)), "address pool", F, ["overlay_pool"]),
        (engine(held=frozenset({"docker-cli"})), "engine upgrades", W, ["hold docker.io"]),
        (machine(machine="armv6l", architecture="armhf"), "architecture", W, ["ARMv6", "mode: host"]),
        (machine(ipvs=False), "ipvs", W, ["mode: host"]),
        (machine(memory_cgroup=False), "memory cgroup", W, ["cgroup_enable=memory"]),
        (
            machine(memory_cgroup=False, cmdline_path="/boot/firmware/cmdline.txt"),
            "memory cgroup",
            W,
            ["/boot/firmware/cmdline.txt", "deploys/swarm.py"],
        ),
        (machine(memory_cgroup=False, cmdline="a cgroup_enable=memory"), "memory cgroup", W, ["reboot it"]),
        (clock(offset=7200.0), "clock", F, ["+7200 s", "certificates"]),
        (clock(offset=-30.0), "clock", W, ["-30 s"]),
        (clock(keeps=False), "clock", W, ["set-ntp"]),
    ],
)  # fmt: skip
def test_a_trouble_is_named_with_its_reason_and_its_fix_and_alone(
    host: HostEvidence, check: str, status: Status, words: list[str]
) -> None:
    only(with_host(host), host.name, check, status, *words)


def test_32_bit_raspberry_pi_os_on_a_64_bit_kernel_is_a_warning() -> None:
    kernel_says, programs_say = (
        (RECORDED / name).read_text().strip() for name in ("uname-pi4-32bit", "dpkg-pi4-32bit")
    )
    evidence = with_host(machine(machine=kernel_says, architecture=programs_say))
    only(evidence, "pi3", "architecture", W, "armhf on aarch64", "arm_64bit=0")


@pytest.mark.parametrize(
    ("model", "needed"),
    [
        ((RECORDED / "model-pi1").read_text(), 2.5),
        ((RECORDED / "model-pi3").read_text(), 2.5),
        ((RECORDED / "model-pi4").read_text(), 3.0),
        ((RECORDED / "model-pi5").read_text(), 5.0),
        ("Raspberry Pi Zero 2 W Rev 1.0", 2.5),
        ("Raspberry Pi Compute Module 4 Rev 1.0", 3.0),
        ("Raspberry Pi 400 Rev 1.0", 3.0),
        ("", 2.5),
    ],
)
def test_each_model_has_its_supply(model: str, needed: float) -> None:
    assert amperes(model) == needed


def test_a_32_bit_node_is_no_place_for_prometheus() -> None:
    evidence = with_host(machine(machine="armv7l", architecture="armhf"), prometheus_node="pi3")
    finding = only(evidence, "pi3", "prometheus", Status.WARNING, "linux/arm/v7", "prometheus_node")
    assert finding.fix.endswith("pi1 or pi2")


def test_where_no_host_has_64_bits_none_is_proposed_for_prometheus() -> None:
    hosts = tuple(changed(name, Host, machine="armv7l", architecture="armhf") for name in PIS)
    finding = found(replace(WELL, hosts=hosts), "pi2", "prometheus")
    assert finding.status is Status.WARNING
    assert "retention" in finding.fix


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({"unit": "", "digest": "", "active": False, "age": None}, "not written"),
        ({"active": False, "age": None}, "not running"),
        ({"age": 61.0}, "61 s old"),
        ({"age": None}, "never written"),
        ({"enabled": False}, "not at boot"),
        ({"stale": True}, "not up to date"),
    ],
)
def test_a_host_that_tells_nothing_of_itself_is_named(values: dict[str, Any], value: str) -> None:
    only(with_host(changed("pi3", Metrics, **values)), "pi3", "metrics", Status.WARNING, value, "deploys/swarm.py")


def test_a_host_that_need_not_tell_of_itself_is_left_in_peace() -> None:
    silent = changed("pi3", Metrics, unit="", active=False, age=None)
    assert found(replace(with_host(silent), metrics=False), "pi3", "metrics").status is Status.NOT_APPLICABLE


def test_a_small_link_is_fine_for_networks_that_know_it() -> None:
    alone = replace(WELL, hosts=(tunnelled(1350),))
    assert found(alone, "pi2", "mtu") == Finding(Status.OK, "1400")


def test_large_pages_and_open_ports_are_worth_a_note_and_no_warning() -> None:
    pages = found(with_host(board(page_size=16384)), "pi2", "page size")
    assert (pages.status, pages.value) == (Status.OK, "16 KiB")
    assert "kernel8.img" in pages.why
    ports = found(with_host(runtime(published=(Published(80, "tcp", "web"),))), "pi2", "published ports")
    assert ports.status is Status.OK
    assert "80/tcp (web)" in ports.why


def test_published_ports_behind_ufw_are_a_warning() -> None:
    host = links(ufw=True)
    host = replace(
        host, parts={**host.parts, Runtime: replace(host.read(Runtime), published=(Published(80, "tcp", "web"),))}
    )
    only(with_host(host), "pi2", "published ports", Status.WARNING, "80/tcp (web)", "DOCKER-USER")


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_blocked_port_is_named_with_both_ends(kind: str) -> None:
    if kind == "udp":
        deaf = Reached(HEALTHY["pi2"].reached.reached, frozenset({("pi1", 7946), ("pi3", 7946), ("pi1", 4789)}))  # type: ignore[union-attr]
        only(
            with_host(replace(HEALTHY["pi2"], reached=deaf)),
            "pi2",
            "4789/udp",
            F,
            "pi3 → pi2",
            "192.168.1.13",
            "on pi2",
        )
    else:
        shut = Reached(frozenset({("pi2", 7946), ("pi1", 2377)}), HEALTHY["pi3"].reached.heard)  # type: ignore[union-attr]
        only(
            with_host(replace(HEALTHY["pi3"], reached=shut)),
            "pi1",
            "7946/tcp",
            F,
            "pi3 → pi1",
            "192.168.1.13",
            "on pi1",
        )


def test_a_host_without_python_leaves_the_others_judged_by_each_other() -> None:
    evidence = with_host(replace(HEALTHY["pi2"], reached=None))
    assert found(evidence, "pi2", "4789/udp").status is Status.UNKNOWN
    assert found(evidence, "pi2", "7946/tcp") == Finding(Status.OK, "from pi1, pi3")
    assert found(evidence, "pi1", "4789/udp") == Finding(Status.OK, "from pi3")


def versions(*found_on: str) -> Evidence:
    hosts = tuple(changed(name, Swarm, version=version) for name, version in zip(PIS, found_on, strict=True))
    nodes = {
        id_: replace(node, version=dict(zip(PIS, found_on, strict=True))[node.hostname]) for id_, node in NODES.items()
    }
    lead = hosts[0]
    hosts = (replace(lead, parts={**lead.parts, Swarm: replace(lead.read(Swarm), nodes=nodes)}), *hosts[1:])
    return replace(WELL, hosts=hosts)


def test_engines_that_differ_are_a_warning() -> None:
    finding = found(versions("26.1.5+dfsg1", "26.1.5", "26.1.6"), "pi1", "engine version")
    assert finding.status is Status.WARNING
    assert "pi3 has 26.1.6" in finding.why


def test_engines_of_different_majors_are_a_failure() -> None:
    finding = found(versions("28.5.1", "28.5.1", "29.0.0"), "pi3", "engine version")
    assert finding.status is Status.FAILURE
    assert "pi1 and pi2 have 28.5.1" in finding.why


def tls(name: str, state: TlsState) -> HostEvidence:
    return replace(HEALTHY[name], parts={**HEALTHY[name].parts, Tls: state})


def test_another_hosts_certificate_is_a_failure_in_each_of_its_faults() -> None:
    borrowed = replace(TLS["pi2"], server_certificate=TLS["pi3"].server_certificate)
    finding = only(with_host(tls("pi2", borrowed)), "pi2", "certificate", Status.FAILURE, "not for 192.168.1.12, pi2")
    assert "not of its key" in finding.value


def test_a_certificate_of_another_ca_is_a_failure() -> None:
    strange = replace(certified("pi2", PIS["pi2"], OTHER_CA), ca=TLS["pi2"].ca)
    only(with_host(tls("pi2", strange)), "pi2", "certificate", Status.FAILURE, "not by its CA")


def test_a_host_that_trusts_another_ca_is_a_failure() -> None:
    evidence = with_host(tls("pi2", certified("pi2", PIS["pi2"], OTHER_CA)))
    finding = found(evidence, "pi2", "ca")
    assert (finding.status, finding.value) == (Status.FAILURE, "another CA")


def test_without_a_ca_of_our_own_the_hosts_are_compared_with_each_other() -> None:
    evidence = with_host(tls("pi2", certified("pi2", PIS["pi2"], OTHER_CA)), ca="")
    assert "pi1, pi3" in found(evidence, "pi2", "ca").why


@pytest.mark.parametrize(
    ("days", "check", "status", "word"),
    [(370, "certificate", W, "26 days"), (398, "certificate", F, "expired"), (-1, "certificate", F, "not valid yet")],
)
def test_a_certificates_life_is_told(days: int, check: str, status: Status, word: str) -> None:
    finding = found(replace(WELL, now=NOW + dt.timedelta(days=days)), "pi2", check)
    assert finding.status is status
    assert word in f"{finding.value} {finding.why}"


def test_a_damaged_certificate_is_a_failure() -> None:
    only(with_host(tls("pi2", replace(TLS["pi2"], server_certificate="garbage"))), "pi2", "certificate", F, "damaged")


@pytest.mark.parametrize(
    ("check", "without"),
    [
        ("certificate", tls("pi2", replace(TLS["pi2"], server_certificate=""))),
        ("private key", runtime(key_mode="")),
    ],
)
def test_a_file_is_missed_where_the_engine_is_told_to_read_it(check: str, without: HostEvidence) -> None:
    assert CHECKS[check](without, WELL).status is Status.NOT_APPLICABLE
    told = {**without.parts, Engine: replace(without.read(Engine), daemon_json={**SECURE, "tlscert": "x"})}
    only(with_host(replace(without, parts=told)), "pi2", check, F, "is gone")


def test_a_damaged_ca_is_a_failure() -> None:
    host = tls("pi2", replace(TLS["pi2"], ca="garbage"))
    finding = CHECKS["ca"](host, with_host(host))
    assert (finding.status, "ca.pem is damaged" in finding.why) == (F, True)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["hosts", "insecure-registries", "log-opts", "log-driver", "iptables"]), ANY))
def test_any_daemon_json_is_judged(said: dict[str, Any]) -> None:
    host = engine(daemon_json=said)
    for check in ("daemon.json", "container logs", "certificate", "private key"):
        assert CHECKS[check](host, WELL)


@given(st.text())
def test_any_certificate_text_is_judged(text: str) -> None:
    for state in (replace(TLS["pi2"], server_certificate=text), replace(TLS["pi2"], ca=text)):
        host = tls("pi2", state)
        assert CHECKS["certificate"](host, WELL).status in (F, Status.OK, Status.NOT_APPLICABLE)


@pytest.mark.parametrize(
    ("door", "status", "word"),
    [
        (Door("served", "closed", None), F, "root"),
        (Door("silent", "closed", None), Status.UNKNOWN, "firewall"),
        (Door("closed", "closed", None), W, "does not listen"),
        (Door("refused", "closed", "its certificate: unknown ca"), W, "unknown ca"),
    ],
)
def test_the_engines_door_is_judged(door: Door, status: Status, word: str) -> None:
    finding = found(with_host(replace(HEALTHY["pi2"], door=door)), "pi2", "2376/tcp")
    assert finding.status is status
    assert word in finding.why


def test_a_plain_api_that_answers_is_a_failure_wherever_it_listens() -> None:
    only(with_host(replace(HEALTHY["pi2"], door=Door("refused", "served", ""))), "pi2", "2375/tcp", F, "answered")


def listed(*nodes: SwarmNode, **cluster: Any) -> Evidence:
    """The cluster whose manager lists these nodes instead, or besides."""
    lead = HEALTHY["pi1"]
    state = replace(lead.read(Swarm), nodes=NODES | {node.id: node for node in nodes})
    return with_host(replace(lead, parts={**lead.parts, Swarm: state}), **cluster)


def test_a_dead_entry_is_told_to_the_host_that_it_was() -> None:
    gone = SwarmNode("old", "pi3", PIS["pi3"], "worker", "down")
    only(listed(gone), "pi3", "entries", Status.WARNING, "docker node rm --force old")


def test_a_dead_entry_of_nobody_is_told_to_a_manager() -> None:
    gone = SwarmNode("old", "pi9", "192.168.1.19", "manager", "down")
    evidence = listed(gone)
    assert "docker node demote old" in found(evidence, "pi1", "entries").fix


def test_a_dead_entry_of_a_host_that_was_not_asked_is_left_in_peace() -> None:
    gone = SwarmNode("id-pi4", "pi4", "192.168.1.14", "worker", "down")
    evidence = listed(gone, inventory={**PIS, "pi4": "192.168.1.14"})
    assert examine(evidence).exit_code == 0


def test_a_drained_node_is_a_warning_unless_the_inventory_wants_it() -> None:
    drained = replace(NODES["id-pi2"], availability="drain")
    only(listed(drained), "pi2", "availability", Status.WARNING, "--availability active pi2")
    wanted = replace(HEALTHY["pi2"], availability="drain")
    evidence = listed(drained)
    hosts = tuple(wanted if host.name == "pi2" else host for host in evidence.hosts)
    assert examine(replace(evidence, hosts=hosts)).exit_code == 0


def test_a_node_that_the_managers_do_not_hear_is_a_failure() -> None:
    only(listed(replace(NODES["id-pi2"], state="down")), "pi2", "swarm", Status.FAILURE, "down")


@pytest.mark.parametrize(
    ("managers", "status", "words"),
    [
        ("++", W, ["2 of 2, may lose 0", "as many failures as 1"]),
        ("+++", Status.OK, ["3 of 3, may lose 1"]),
        ("++-", W, ["2 of 3, may lose 0", "demote"]),
    ],
)
def test_the_quorum_is_told_with_what_it_tolerates(managers: str, status: Status, words: list[str]) -> None:
    nodes = [
        replace(node, role="manager", reachable=sign == "+")
        for node, sign in zip(NODES.values(), managers, strict=False)
    ]
    finding = found(listed(*nodes), "pi1", "quorum")
    assert finding.status is status
    for word in words:
        assert word in f"{finding.value} {finding.why} {finding.fix}"


def test_a_lost_quorum_is_a_failure() -> None:
    finding = found(with_host(changed("pi1", Swarm, nodes={})), "pi1", "quorum")
    assert finding.status is Status.FAILURE
    assert "--force-new-cluster" in finding.fix


@pytest.mark.parametrize(("managers", "status"), [(1, Status.OK), (2, W), (3, Status.OK)])
def test_planned_managers_are_counted_before_there_is_a_swarm(managers: int, status: Status) -> None:
    hosts = tuple(replace(host, parts={**host.parts, Swarm: said(Swarm)}) for host in WELL.hosts)
    finding = found(replace(WELL, hosts=hosts, managers=tuple(PIS)[:managers]), "pi1", "quorum")
    assert finding.status is status
    assert f"{managers} planned" in finding.value


@pytest.mark.parametrize(
    ("membership", "status", "word"),
    [
        (Membership("inactive", "", "worker"), W, "without it"),
        (Membership("locked", "", "worker"), F, "unlock"),
        (Membership("error", "id-pi2", "worker", error="certificate has expired"), F, "expired"),
        (Membership("active", "stranger", "worker"), F, "does not know"),
        (Membership("active", "id-pi2", "manager"), W, "wants it as worker"),
    ],
)
def test_a_host_that_is_not_in_the_swarm_as_it_should_be_is_told(
    membership: Membership | None, status: Status, word: str
) -> None:
    finding = found(with_host(changed("pi2", Swarm, membership=membership)), "pi2", "swarm")
    assert finding.status is status
    assert word in finding.why


def test_a_manager_that_moved_is_a_failure() -> None:
    evidence = with_host(changed("pi1", Runtime, node_address="192.168.1.99"))
    only(evidence, "pi1", "advertised address", Status.FAILURE, "keeps for ever")


def test_a_lease_is_a_warning_only_where_the_address_shall_be_set_on_the_host() -> None:
    host = leased(PIS["pi2"])
    assert examine(with_host(host)).exit_code == 0
    only(with_host(replace(host, static=True)), "pi2", "address", Status.WARNING, "DHCP")


def test_a_pull_that_fails_is_told_in_the_engines_words() -> None:
    failed = replace(HEALTHY["pi3"], pull=Pull("x509: certificate signed by unknown authority"))
    only(with_host(failed), "pi3", "registry", Status.FAILURE, "unknown authority", "192.168.1.11:5000/busybox")


def test_a_registry_that_should_run_and_does_not_answer_is_its_nodes_failure() -> None:
    evidence = replace(WELL, stock=Stock(None, "Connection refused"))
    only(evidence, "pi1", "registry", Status.FAILURE, "Connection refused")
    assert found(evidence, "pi2", "registry").status is Status.UNKNOWN
    never = replace(evidence, registry_started=False)
    assert found(never, "pi1", "registry").status is Status.NOT_APPLICABLE
    empty = replace(WELL, stock=Stock(None))
    assert found(empty, "pi1", "registry").status is Status.NOT_APPLICABLE


def test_every_check_says_something_of_a_host_that_told_nothing() -> None:
    mute = HostEvidence("pi1", PIS["pi1"], "manager")
    report = examine(replace(WELL, hosts=(mute,)))
    assert set(report.findings["pi1"]) == set(CHECKS)
    assert {finding.status for finding in report.findings["pi1"].values()} >= {Status.FAILURE, Status.UNKNOWN}
