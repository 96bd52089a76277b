"""All checks on all hosts, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from doctor.checks import engine, hardware, metrics, network, swarm, system, tls
from doctor.evidence import Evidence, HostEvidence, UnreadError
from doctor.finding import EXIT_CODES, Finding, Status, unknown, verdict

Check = Callable[[HostEvidence, Evidence], Finding]

# In the table's order.
CHECKS: Final[Mapping[str, Check]] = {
    "answers": system.answers,
    "model": hardware.model,
    "system": system.system,
    "architecture": system.architecture,
    "page size": hardware.page_size,
    "memory cgroup": system.memory_cgroup,
    "control groups": system.control_groups,
    "container kernel": system.container_kernel,
    "vxlan": system.vxlan,
    "ipvs": system.ipvs,
    "clock": system.clock,
    "power supply": hardware.power_supply,
    "under-voltage": hardware.undervoltage,
    "throttling": hardware.throttling,
    "temperature": hardware.temperature,
    "disk space": system.disk_space,
    "inodes": system.inodes,
    "card wear": hardware.card_wear,
    "address": network.address,
    "mtu": network.mtu,
    "left alone": network.left_alone,
    "2377/tcp": network.swarm_port,
    "7946/tcp": network.gossip_tcp,
    "7946/udp": network.gossip_udp,
    "4789/udp": network.vxlan_port,
    "iptables": network.iptables,
    "firewall": network.firewall,
    "published ports": network.published,
    "engine": engine.engine,
    "engine version": engine.version,
    "engine upgrades": engine.upgrades,
    "storage": engine.storage,
    "daemon.json": engine.configuration,
    "container logs": engine.logs,
    "engine warnings": engine.engine_warnings,
    "private key": tls.private_key,
    "certificate": tls.certificate,
    "ca": tls.authority,
    "2376/tcp": tls.api,
    "2375/tcp": tls.plain_api,
    "swarm": swarm.membership,
    "advertised address": swarm.advertised,
    "availability": swarm.availability,
    "quorum": swarm.quorum,
    "entries": swarm.entries,
    "address pool": swarm.address_pool,
    "registry": swarm.registry,
    "prometheus": swarm.prometheus,
    "metrics": metrics.metrics,
}


@dataclass(frozen=True)
class Report:
    """A finding a host and a check."""

    findings: Mapping[str, Mapping[str, Finding]]
    """By host, then by check."""

    @property
    def verdict(self) -> Status:
        """The worst of all."""
        return verdict(finding for checks in self.findings.values() for finding in checks.values())

    @property
    def exit_code(self) -> int:
        """0 fine, 1 warnings, 2 failures."""
        return EXIT_CODES[self.verdict]

    def each(self) -> Iterator[tuple[str, str, Finding]]:
        """Check, host and finding, a row of the table after the other."""
        checks = dict.fromkeys(check for found in self.findings.values() for check in found)
        return ((check, host, found[check]) for check in checks for host, found in self.findings.items())

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "verdict": str(self.verdict),
            "hosts": {
                host: {
                    check: {"status": str(one.status), "value": one.value, "why": one.why, "fix": one.fix}
                    for check, one in found.items()
                }
                for host, found in self.findings.items()
            },
        }


def examine(evidence: Evidence) -> Report:
    """Make all checks on all hosts."""
    return Report(
        {
            host.name: {name: _finding(check, host, evidence) for name, check in CHECKS.items()}
            for host in evidence.hosts
        }
    )


def _finding(check: Check, host: HostEvidence, evidence: Evidence) -> Finding:
    if host.silence and check is not system.answers:
        return unknown("it does not answer")
    try:
        return check(host, evidence)
    except UnreadError as error:
        return unknown(str(error))
