"""What virtual Pis tell of themselves; the files are read by `docker exec`, and what they say is checked elsewhere."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.commands import Lab, command, nothing_proposed, until
from tests.deploys import service
from tests.deploys.test_departure import closed
from tests.deploys.test_engine import configuration, read
from tests.deploys.test_membership import listed
from tests.sensors import throttled

PIS = ["pi1", "pi2", "pi3"]
FOLDER = "/run/pishelf-metrics"
PROGRAM = "/usr/local/lib/pishelf/metrics.py"
UNIT = "/etc/systemd/system/pishelf-metrics.service"
ENGINE, REGISTRY = 9323, 5001
POWER = ("pi_under_voltage", "pi_frequency_capped", "pi_throttled", "pi_soft_temperature_limit")


def series(text: str) -> dict[str, float]:
    """By name and labels, as Prometheus' text format has them."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def told(lab: Lab, pi: str) -> dict[str, float]:
    """What a Pi's files say now; none where there is no file."""
    return series(lab.on(pi, "sh", "-c", f"cat {FOLDER}/*.prom").stdout)


def files(lab: Lab, pi: str) -> set[str]:
    return {name for name in lab.on(pi, "ls", FOLDER).stdout.split() if name.endswith(".prom")}


def wrote(lab: Lab, pi: str) -> str:
    """Changes each time the daemon has gone through all that it writes."""
    return lab.on(pi, "stat", "-c", "%i %y", f"{FOLDER}/host.prom").stdout


def rounds(lab: Lab, pi: str, number: int) -> None:
    """Wait until the daemon has begun and ended so many rounds."""
    for _ in range(number + 1):
        before = wrote(lab, pi)
        until(lambda before=before: wrote(lab, pi) != before)  # type: ignore[misc]


def test_each_pi_tells_what_it_is_and_the_leader_alone_what_the_swarm_is(swarm: Lab) -> None:
    # Another test may have restarted an engine a moment ago.
    until(lambda: [told(swarm, pi).get("pi_engine_up") for pi in PIS] == [1, 1, 1])
    until(lambda: "swarm.prom" in files(swarm, "pi1"))
    assert {pi: files(swarm, pi) for pi in PIS} == {
        "pi1": {"engine.prom", "host.prom", "registry.prom", "swarm.prom"},
        "pi2": {"engine.prom", "host.prom"},
        "pi3": {"engine.prom", "host.prom"},
    }
    for pi in PIS:
        found = told(swarm, pi)
        assert [value for name, value in found.items() if name.startswith("pi_model_info{model=")] == [1]
        assert found["pi_reboot_required"] == 0
        assert 'engine_daemon_container_states_containers{state="running"}' in found
        assert not any(name.startswith(POWER) for name in found), "nobody can know that of a virtual Pi"
        modes = swarm.on(pi, "sh", "-c", f"stat -c %a {FOLDER} {FOLDER}/*.prom").ok().split()
        assert set(modes) == {"755", "644"}
    rounds(swarm, "pi1", 1)  # what another test did to the nodes may be told of until then
    found = told(swarm, "pi1")
    for pi, node in listed(swarm).items():
        labels = f'member="{pi}",role="{node["Spec"]["Role"]}",availability="active",address="{swarm.address(pi)}"'
        assert found[f"swarm_member_ready{{{labels}}}"] == 1
    assert (found["swarm_managers"], found["swarm_managers_reachable"]) == (1, 1)


def test_a_look_at_an_engine_leaves_no_error_in_its_log(swarm: Lab) -> None:
    """Of a worker that is asked for nodes it would, each time."""

    def errors(pi: str) -> list[str]:
        said = swarm.on(pi, "journalctl", "--unit", "docker", "--output", "cat", "--no-pager").ok()
        return [line for line in said.splitlines() if "returned error" in line]

    before = {pi: errors(pi) for pi in PIS[:2]}
    rounds(swarm, "pi2", 2)
    assert {pi: errors(pi) for pi in PIS[:2]} == before


def test_the_end_of_the_certificate_that_an_engine_shows_is_told(swarm: Lab) -> None:
    pem = ssl.get_server_certificate((swarm.address("pi2"), 2376))
    ends = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()
    assert told(swarm, "pi2")['pi_certificate_expiry_timestamp_seconds{certificate="engine"}'] == ends
    ca = x509.load_pem_x509_certificate((swarm.folder / "ca.pem").read_bytes()).not_valid_after_utc.timestamp()
    assert told(swarm, "pi2")['pi_certificate_expiry_timestamp_seconds{certificate="ca"}'] == ca


def test_a_weak_supply_is_told_as_long_as_the_firmware_tells_it(swarm: Lab) -> None:
    def power() -> dict[str, float]:
        return {name: value for name, value in told(swarm, "pi3").items() if name.startswith(POWER)}

    with throttled(swarm, "pi3", 0x50005):
        until(lambda: bool(power()))
        assert {name for name, value in power().items() if value == 1} == {
            "pi_under_voltage", "pi_under_voltage_since_boot", "pi_throttled", "pi_throttled_since_boot"
        }  # fmt: skip
        assert len(power()) == 8
    until(lambda: not power())
    with throttled(swarm, "pi3", 0):
        until(lambda: len(power()) == 8)
        assert not any(power().values())


def test_a_reboot_that_a_package_asks_for_is_told(swarm: Lab) -> None:
    swarm.on("pi2", "touch", "/run/reboot-required").ok()
    try:
        until(lambda: told(swarm, "pi2")["pi_reboot_required"] == 1)
    finally:
        swarm.on("pi2", "rm", "/run/reboot-required").ok()
    until(lambda: told(swarm, "pi2")["pi_reboot_required"] == 0)


def test_an_engine_that_a_person_stopped_is_told_and_not_started_by_being_looked_at(swarm: Lab) -> None:
    ready = re.compile(r'swarm_member_ready\{member="pi3",.*')

    def member() -> list[float]:
        return [value for name, value in told(swarm, "pi1").items() if ready.fullmatch(name)]

    service.start(swarm, PIS)
    try:
        # One that does not heed TERM: the engine ends ten seconds after it was told to, and who asks at its socket
        # meanwhile, as the daemon does when it starts, would have systemd start it again.
        slow = 'trap "" TERM; while :; do sleep 1; done'
        swarm.on("pi3", "docker", "run", "--detach", "--rm", "--entrypoint", "/busybox", "web", "sh", "-c", slow).ok()
        swarm.on("pi3", "systemctl", "stop", "--no-block", "docker.service").ok()
        swarm.on("pi3", "systemctl", "restart", "pishelf-metrics.service").ok()
        assert swarm.on("pi3", "systemctl", "is-active", "docker.service").stdout.strip() == "deactivating"
        until(lambda: swarm.on("pi3", "systemctl", "is-active", "docker.service").stdout.strip() == "inactive")
        assert swarm.on("pi3", "systemctl", "is-active", "docker.socket").ok().strip() == "active"
        until(lambda: told(swarm, "pi3").get("pi_engine_up") == 0)
        rounds(swarm, "pi3", 1)
        assert not any(name.startswith(("engine_", "swarm_")) for name in told(swarm, "pi3"))
        assert swarm.on("pi3", "systemctl", "is-active", "docker.service").stdout.strip() == "inactive"
        until(lambda: member() == [0])
    finally:
        swarm.restart_engine("pi3")
        service.stop(swarm, "pi1")
    until(lambda: told(swarm, "pi3")["pi_engine_up"] == 1 and member() == [1])


def test_a_service_that_fails_again_and_again_is_told_with_its_failures(swarm: Lab) -> None:
    service.start(swarm, PIS)
    try:
        swarm.on(
            "pi1", "docker", "service", "create", "--quiet", "--detach", "--name", "crash", "--no-resolve-image",
            "--constraint", "node.hostname==pi1", "--restart-delay", "1s", "web", "/busybox", "false",
        ).ok()  # fmt: skip
        until(lambda: told(swarm, "pi1").get('swarm_service_task_failures{service="crash"}', 0) > 1)
        assert told(swarm, "pi1")['swarm_service_tasks_desired{service="crash"}'] == 1
        until(lambda: told(swarm, "pi1")['swarm_service_tasks_running{service="web"}'] == 2)
        assert told(swarm, "pi1")['swarm_service_tasks_desired{service="web"}'] == 2
        assert told(swarm, "pi1")['swarm_service_task_failures{service="web"}'] == 0
    finally:
        swarm.on("pi1", "docker", "service", "rm", "crash")
        service.stop(swarm, "pi1")
    until(lambda: not any('service="crash"' in name for name in told(swarm, "pi1")))


def test_the_engines_own_metrics_answer_on_the_host_itself_and_nobody_else(swarm: Lab) -> None:
    service.start(swarm, PIS)
    service.stop(swarm, "pi1")
    swarm.on("pi1", "docker", "network", "create", "--driver", "overlay", "--attachable", "looks").ok()
    inside = ("docker", "run", "--rm", "--network", "looks", "web", "/busybox", "nc", "-w", "3")
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    bridge = swarm.on("pi1", "docker", "network", "inspect", "docker_gwbridge", "--format", gateway).ok().strip()
    address = swarm.address("pi1")
    try:
        # The same ways lead to a port that is open.
        assert not closed(swarm, "pi1", 22)
        for at in (address, bridge):
            assert swarm.on("pi1", *inside, at, "22").stdout.startswith("SSH-"), at
        for port in (ENGINE, REGISTRY):
            assert closed(swarm, "pi1", port)
            assert swarm.on("pi2", "curl", "--max-time", "3", f"http://{address}:{port}/metrics").code != 0
            for at in (address, bridge, "127.0.0.1"):
                assert swarm.on("pi1", *inside, at, str(port)).code != 0, at
        assert "engine_daemon" in swarm.on("pi1", "curl", "--silent", f"http://127.0.0.1:{ENGINE}/metrics").ok()
    finally:
        until(lambda: swarm.on("pi1", "docker", "network", "rm", "looks").code == 0)


def test_without_the_setting_nothing_of_it_stays(swarm: Lab, tmp_path: Path) -> None:
    off = swarm.inventory(
        tmp_path, "managers = _with(_managers, metrics=False)\nworkers = _with(_workers, metrics=False)"
    )
    with configuration(swarm, "pi3") as config:
        assert config["metrics-addr"] == f"127.0.0.1:{ENGINE}"
        swarm.deploy("swarm", "--limit", "pi3", inventory=off).ok()
        assert read(swarm, "pi3") == {key: value for key, value in config.items() if key != "metrics-addr"}
        for path in (FOLDER, PROGRAM, UNIT):
            assert swarm.on("pi3", "test", "-e", path).code != 0, path
        assert swarm.on("pi3", "curl", "--silent", f"http://127.0.0.1:{ENGINE}/metrics").code != 0
        assert nothing_proposed(swarm.dry("swarm", "--limit", "pi3", inventory=off))
    assert files(swarm, "pi3") == {"engine.prom", "host.prom"}


def test_a_program_that_was_changed_stopped_or_half_installed_is_made_good(swarm: Lab) -> None:
    good = swarm.on("pi2", "sha256sum", PROGRAM).ok()
    for harm in (
        f"echo 'raise SystemExit' >> {PROGRAM}",
        "systemctl disable --now pishelf-metrics.service",
        f"rm {UNIT}",
        # As if a run had been killed between the files and the restart.
        f"touch {PROGRAM}",
    ):
        swarm.on("pi2", "sh", "-c", harm).ok()
        swarm.deploy("swarm", "--limit", "pi2").ok()
        assert swarm.on("pi2", "sha256sum", PROGRAM).ok() == good
        shown = swarm.on("pi2", "systemctl", "is-active", "pishelf-metrics").stdout.split()
        shown += swarm.on("pi2", "systemctl", "is-enabled", "pishelf-metrics").stdout.split()
        assert shown == ["active", "enabled"], harm
        assert nothing_proposed(swarm.dry("swarm", "--limit", "pi2")), harm
        assert files(swarm, "pi2") == {"engine.prom", "host.prom"}


def test_another_leader_tells_the_swarm_when_the_first_one_is_gone(five: Lab) -> None:
    managers = PIS

    def tellers() -> list[str]:
        return [pi for pi in managers if "swarm.prom" in files(five, pi)]

    def told_by_another() -> dict[str, float]:
        """What the one says that tells instead of the first; nothing while an election goes on."""
        now = tellers()
        return told(five, now[0]) if len(now) == 1 and now != [first] else {}

    until(lambda: len(tellers()) == 1)
    (first,) = tellers()
    shown = five.on(first, "docker", "node", "inspect", "self").ok()
    assert json.loads(shown)[0]["ManagerStatus"]["Leader"]
    five.on(first, "systemctl", "stop", "docker.socket", "docker.service").ok()
    try:
        found = until(lambda: (said := told_by_another()).get("swarm_managers_reachable") == 2 and said)
        assert found["swarm_managers"] == 3
        assert found[f'swarm_member_reachable{{member="{first}"}}'] == 0
    finally:
        five.restart_engine(first)
    until(lambda: [told(five, pi).get("swarm_managers_reachable") for pi in tellers()] == [3])


def test_while_the_leader_is_drained_another_manager_tells_the_swarm(five: Lab) -> None:
    """No node_exporter runs on a drained node, so what is written there reaches nobody."""

    def tellers() -> list[str]:
        return [pi for pi in PIS if "swarm.prom" in files(five, pi)]

    def availability(word: str) -> None:
        five.on(first, "docker", "node", "update", "--availability", word, first).ok()

    until(lambda: len(tellers()) == 1)
    (first,) = tellers()
    availability("drain")
    try:
        (second,) = until(lambda: len(now := tellers()) == 1 and now != [first] and now) or ()
        assert json.loads(five.on(first, "docker", "node", "inspect", "self").ok())[0]["ManagerStatus"]["Leader"]
        found = told(five, second)
        assert (found["swarm_managers"], found["swarm_managers_reachable"]) == (3, 3)
        assert any('availability="drain"' in name for name, ready in found.items() if ready)
    finally:
        availability("active")
    until(lambda: tellers() == [first])


def exported(lab: Lab, pi: str) -> dict[str, float]:
    """What a Pi's node_exporter answers, asked from the Pi at its container's address in the bridge of the host."""
    shown = json.loads(lab.on(pi, "docker", "network", "inspect", "docker_gwbridge").ok())[0]["Containers"]
    name = lab.on(pi, "docker", "ps", "--quiet", "--no-trunc", "--filter", "name=shelf_node_exporter").ok().strip()
    address = shown[name]["IPv4Address"].partition("/")[0]
    return series(lab.on(pi, "curl", "--silent", "--fail", f"http://{address}:9100/metrics").ok())


def named(found: dict[str, float], name: str) -> list[float]:
    return [value for key, value in found.items() if key.partition("{")[0] == name]


@pytest.mark.parametrize("pi", PIS)
def test_node_exporter_hands_out_all_of_it_without_an_error_and_with_the_nodes_name(stack: Lab, pi: str) -> None:
    found = exported(stack, pi)
    assert named(found, "node_textfile_scrape_error") == [0]
    own = told(stack, pi)
    for key in own:
        name, _, labels = key.partition("{")
        if name.startswith(("pi_", "swarm_service", "swarm_member", "pishelf_")):
            assert any(
                each.startswith(f"{name}{{") and f'node="{pi}"' in each and set(_pairs(labels)) <= set(_pairs(each))
                for each in found
            ), key
    assert named(found, "engine_daemon_engine_info") == [1]
    for collector in ("textfile", "hwmon", "thermal_zone", "cpufreq", "pressure"):
        assert f'node_scrape_collector_success{{collector="{collector}",node="{pi}"}}' in found


def _pairs(labels: str) -> list[str]:
    return re.findall(r'\w+="(?:[^"\\]|\\.)*"', labels)


def test_the_registry_is_told_by_its_own_node_and_reached_by_all(stack: Lab) -> None:
    label = f'{{registry="{stack.address("pi1")}:5000"}}'
    for pi in PIS:
        until(lambda pi=pi: told(stack, pi)[f"pi_registry_reachable{label}"] == 1)  # type: ignore[misc]
    assert told(stack, "pi1")["pi_registry_metrics_up"] == 1
    assert any(name.startswith("registry_") for name in told(stack, "pi1"))
    assert not any("registry_metrics" in name for name in told(stack, "pi2"))
    assert closed(stack, "pi1", REGISTRY)
    # whoever only knocks is written down, on a card, each 15 seconds
    said = stack.on("pi1", "sh", "-c", "docker logs --since 1m pishelf-registry 2>&1").ok()
    assert not any(f"TLS handshake error from {stack.address(pi)}:" in said for pi in PIS)
    command("docker", "--context", stack.name, "stop", "pishelf-registry").ok()
    try:
        until(lambda: [told(stack, pi)[f"pi_registry_reachable{label}"] for pi in PIS] == [0, 0, 0])
        assert told(stack, "pi1")["pi_registry_metrics_up"] == 0
        assert not any(name.startswith("registry_") for name in told(stack, "pi1"))
    finally:
        command("docker", "--context", stack.name, "start", "pishelf-registry").ok()
    until(lambda: told(stack, "pi1")["pi_registry_metrics_up"] == 1)


def test_the_stacks_services_and_what_was_deployed_when_are_told(stack: Lab) -> None:
    wanted = {
        name: replicas.split()[0].split("/")[1]
        for line in stack.docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}").ok().splitlines()
        for name, replicas in [line.split(" ", 1)]
    }
    assert "shelf_web" in wanted

    def tasks(what: str) -> dict[str, float]:
        found = told(stack, "pi1")
        return {name: found[f'swarm_service_tasks_{what}{{service="{name}"}}'] for name in wanted}

    expected = {name: float(number) for name, number in wanted.items()}
    until(lambda: tasks("running") == tasks("desired") == expected)
    history = json.loads(stack.image("history", "--json").ok())
    newest = max(history, key=lambda one: one["number"])
    revisions = [name for name in told(stack, "pi1") if f'revision="{newest["number"]}"' in name]
    assert len(revisions) == 1
    assert f'state="{newest["state"]}"' in revisions[0]
    assert f'by="{newest["by"]}"' in revisions[0]
