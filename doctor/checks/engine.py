"""The engine: its version, its configuration, its storage and who upgrades it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from doctor.checks.advice import NO_ENGINE, PROVISION, SILENT_ENGINE
from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, failure, not_applicable, ok, together, unknown, warning
from facts.engine import DAEMON_JSON, Engine, EngineState
from facts.runtime import Runtime, RuntimeState
from facts.swarm import Swarm
from facts.upkeep import Upkeep
from operations.version import MIX, mixed, upstream, who_has

_SLOW_DRIVERS = ("vfs", "devicemapper", "aufs")
_LOGS = "docker logs of each container grow until the card is full"


def engine(host: HostEvidence, _: Evidence) -> Finding:
    """Whether it is installed and runs, as it is configured."""
    state, runtime = host.read(Engine), host.read(Runtime)
    if state.interrupted:
        return failure("half installed", "dpkg was interrupted in the middle of its work", PROVISION)
    if not state.source:
        return not_applicable(NO_ENGINE)
    if not state.active and runtime.result == "start-limit-hit":
        return failure(
            "does not run",
            "it failed more often within a minute than systemd allows, which gave up",
            "`journalctl -u docker` says why; then `systemctl reset-failed docker && systemctl start docker`",
        )
    if not state.active:
        return failure("does not run", SILENT_ENGINE, f"`journalctl -u docker` there says why; {PROVISION}")
    if not runtime.answers and "curl" not in state.programs:
        return warning("cannot be asked", "the program curl is missing, with which it is asked", PROVISION)
    if not runtime.answers:
        return failure(
            "does not answer", "it runs, and does not answer on its socket", "`systemctl restart docker` there"
        )
    return together(_unsteady(state), ok("runs"))


def _unsteady(state: EngineState) -> Iterator[Finding]:
    if not state.enabled:
        yield warning(
            "not at boot", "it does not start when the host does", f"`systemctl enable docker` there; {PROVISION}"
        )
    if state.stale:
        yield warning("not up to date", f"{', '.join(state.unread)} changed after it started", PROVISION)
    if state.unproven:
        yield warning("unproven", "a run was cut off before it knew that the engine starts as configured", PROVISION)


def version(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether all engines of the cluster are the same."""
    own = host.read(Swarm).version
    if not own:
        return not_applicable("no engine runs")
    found = {node.hostname: upstream(node.version) for node in evidence.nodes.values() if node.version}
    found |= {name: upstream(state.version) for name, state in evidence.all(Swarm).items() if state.version}
    if len(set(found.values())) == 1:
        return ok(upstream(own))
    fix = "`pyinfra inventory.py deploys/upgrade.py` brings all to one version, one host after the other"
    if mixed(found.values()):
        return failure(upstream(own), f"{MIX}: {who_has(found)}", fix)
    return warning(upstream(own), f"the cluster's engines differ: {who_has(found)}", fix)


def storage(host: HostEvidence, _: Evidence) -> Finding:
    """Where and how images are kept."""
    runtime = host.read(Runtime)
    if not runtime.answers:
        return not_applicable("no engine runs")
    if runtime.storage_driver in _SLOW_DRIVERS:
        return warning(
            runtime.storage_driver,
            "each container gets a copy of its whole image, which is slow and fills the card",
            "remove `storage-driver` from daemon.json, and have overlay2 or containerd's store",
        )
    if not runtime.containerd_store:
        return warning(
            runtime.storage_driver,
            "the classic store does not hold multi-platform images, which building and pushing needs",
            PROVISION,
        )
    return ok(f"containerd, {runtime.storage_driver}")


def configuration(host: HostEvidence, _: Evidence) -> Finding:
    """Whether daemon.json says something dangerous."""
    state, runtime = host.read(Engine), host.read(Runtime)
    if state.daemon_json_error:
        return failure("not readable", state.daemon_json_error, "mend it by hand, then provision again")
    if state.daemon_json is None:
        return ok("none") if state.source else not_applicable(NO_ENGINE)
    return together(_dangers(state.daemon_json, runtime), ok("nothing dangerous"))


def _dangers(said: Mapping[str, Any], runtime: RuntimeState) -> Iterator[Finding]:
    hosts = _listed(said, "hosts")
    if any(each.startswith("tcp://") for each in hosts) and said.get("tlsverify") is not True:
        yield failure(
            "tcp without tlsverify",
            "whoever reaches the port is root on this host: `tls` alone asks no client for a certificate",
            f'"tlsverify": true in {DAEMON_JSON}; {PROVISION}',
        )
    if hosts and runtime.unit_hosts:
        yield failure(
            "hosts given twice",
            "daemon.json and the unit's command line both say where to listen, so the engine will not start again",
            f"an `ExecStart=` without -H in a drop-in; {PROVISION}",
        )
    if said.get("live-restore") or runtime.live_restore:
        yield failure("live-restore", "a swarm does not work with it", f'remove "live-restore" from {DAEMON_JSON}')
    if said.get("firewall-backend") == "nftables" or runtime.firewall == "nftables":
        yield failure(
            "nftables backend", "a swarm does not work with it", f'remove "firewall-backend" from {DAEMON_JSON}'
        )
    if said.get("iptables") is False:
        yield failure(
            "iptables off", "published ports and overlay networks need its rules", f'"iptables" in {DAEMON_JSON}'
        )
    if insecure := _listed(said, "insecure-registries"):
        yield warning(
            "insecure registries",
            f"images from {', '.join(insecure)} can be replaced on their way",
            "trust the registry's CA in /etc/docker/certs.d instead",
        )


def _listed(said: Mapping[str, Any], key: str) -> list[str]:
    """What a key lists; an engine that finds no list there does not start, and says so itself."""
    found = said.get(key)
    return [str(each) for each in found] if isinstance(found, list) else []


def logs(host: HostEvidence, _: Evidence) -> Finding:
    """Whether containers' logs stop growing."""
    state = host.read(Engine)
    if not state.source:
        return not_applicable(NO_ENGINE)
    if state.daemon_json_error:
        return unknown(state.daemon_json_error)
    said = state.daemon_json or {}
    driver = str(said.get("log-driver", "json-file"))
    options = said.get("log-opts")
    if driver == "json-file" and not (isinstance(options, Mapping) and "max-size" in options):
        return warning("json-file, no limit", _LOGS, PROVISION)
    return ok(driver)


def engine_warnings(host: HostEvidence, _: Evidence) -> Finding:
    """What the engine itself warns of."""
    runtime = host.read(Runtime)
    if not runtime.answers:
        return not_applicable("no engine runs")
    return ok(f"{len(runtime.warnings)}", "; ".join(runtime.warnings)) if runtime.warnings else ok("none")


def upgrades(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the engine is upgraded, and so restarted, when nobody is looking."""
    state = host.read(Engine)
    if not state.source:
        return not_applicable(NO_ENGINE)
    loose = [package for package in state.packages if package not in state.held]
    if not loose:
        return ok("held")
    if host.read(Upkeep).unattended:
        return warning(
            "unattended",
            "unattended-upgrades may restart the engine on all hosts at once",
            f"`apt-mark hold {' '.join(loose)}` there; {PROVISION}",
        )
    return ok("by hand", f"`apt upgrade` there would restart the engine: {', '.join(loose)} is not held")
