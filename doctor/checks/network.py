"""Addresses, links, and who reaches whom."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.checks.advice import NO_ENGINE, PROVISION
from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, failure, not_applicable, ok, together, unknown, warning
from facts.engine import Engine
from facts.firewall import Firewall
from facts.kernel import Kernel
from facts.links import Links
from facts.network import Interface, Network, NetworkState
from facts.runtime import Runtime
from facts.swarm import GOSSIP_PORT, SWARM_PORT, VXLAN_PORT
from operations.network import DOCKERS_INTERFACES

_USUAL_MTU = 1500
_VXLAN_HEADERS = 50  # bytes


def address(host: HostEvidence, _: Evidence) -> Finding:
    """Whether it has the address that the inventory says, for good."""
    network = host.read(Network)
    found = _interface(network, host.address)
    if found is None:
        has = ", ".join(str(one.ip) for each in network.interfaces.values() for one in each.addresses)
        return failure(
            f"not {host.address}",
            f"it has {has or 'none'}, and a swarm never finds a manager again whose address changed",
            "give it that address (a reservation in the router, or set on the Pi), or correct the inventory",
        )
    if host.static and found.leased:
        return warning(
            "leased",
            f"{host.address} shall be set on the host, and still comes from DHCP, so it may change",
            PROVISION,
        )
    return ok(f"{host.address} on {found.name}")


def _interface(network: NetworkState, address: str) -> Interface | None:
    """The interface that has the address."""
    return next(
        (one for one in network.interfaces.values() if address in {str(each.ip) for each in one.addresses}), None
    )


def mtu(host: HostEvidence, evidence: Evidence) -> Finding:
    """How large its packets may be, and whether those of overlay networks fit in."""
    sizes = {each.address: size for each in evidence.hosts if (size := _mtu_of(each))}
    link = _interface(host.read(Network), host.address)
    if link is None or host.address not in sizes:
        return unknown(f"no link has the address {host.address}")
    own = sizes[host.address]
    overlays = host.read(Runtime).networks
    tight = [each.name for each in overlays if (each.mtu or _USUAL_MTU - _VXLAN_HEADERS) > own - _VXLAN_HEADERS]
    return together(
        [
            _tight(link.name, own, tight) if tight else None,
            _small(link.name, own) if own < _USUAL_MTU and not overlays else None,
            _uneven(own, max(sizes.values())) if own != max(sizes.values()) else None,
        ],
        ok(str(own)),
    )


def _mtu_of(host: HostEvidence) -> int | None:
    """The size of the packets on the link that has the inventory's address."""
    if Network not in host.parts or Links not in host.parts:
        return None
    link = _interface(host.read(Network), host.address)
    return host.read(Links).mtu.get(link.name) if link else None


def _tight(link: str, own: int, networks: Sequence[str]) -> Finding:
    fits = own - _VXLAN_HEADERS
    return warning(
        str(own),
        f"{link} carries {own} bytes, and {', '.join(networks)} sends more than the {fits} that fit in: large"
        " answers get lost",
        f"make the network anew with `--opt com.docker.network.driver.mtu={fits}`",
    )


def _small(link: str, own: int) -> Finding:
    return warning(
        str(own),
        f"{link} carries {own} bytes, and overlay networks assume {_USUAL_MTU}: large answers get lost",
        f"`mtu {_USUAL_MTU}` on {link}; or `--opt com.docker.network.driver.mtu={own - _VXLAN_HEADERS}` for networks",
    )


def _uneven(own: int, largest: int) -> Finding:
    return warning(
        f"others {largest}", f"its packets have {own} bytes, and larger ones get lost", "the same MTU on all hosts"
    )


def left_alone(host: HostEvidence, _: Evidence) -> Finding:
    """Whether the network's caretaker keeps its hands off Docker's interfaces."""
    network = host.read(Network)
    if not host.read(Engine).source:
        return not_applicable(NO_ENGINE)
    said = {"NetworkManager": network.nm_conf, "dhcpcd": network.dhcpcd_conf}
    busy = {name: conf for name, conf in said.items() if name in network.active}
    if not busy:
        return not_applicable("neither NetworkManager nor dhcpcd runs")
    missing = sorted(name for name, conf in busy.items() if any(each not in conf for each in DOCKERS_INTERFACES))
    if missing:
        return warning(
            f"not by {', '.join(missing)}",
            f"{' and '.join(missing)} also configures what Docker makes ({', '.join(DOCKERS_INTERFACES)}), and"
            " containers lose their network",
            PROVISION,
        )
    return ok("Docker's interfaces")


def firewall(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether the swarm's ports are open to the cluster alone."""
    state, installed = host.read(Firewall), host.read(Engine).source
    if not evidence.firewall:
        return not_applicable("the inventory says firewall = False")
    if not installed:
        return not_applicable(NO_ENGINE)
    if not state.loaded:
        return warning(
            "changed" if state.table else "open to all",
            "our rules are not in force: who reaches the swarm's ports can send packets into overlay networks",
            PROVISION,
        )
    if not state.enabled:
        return warning("not at boot", "our rules are not loaded when the host starts", PROVISION)
    return ok("the cluster only")


def swarm_port(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether others reach it to join and to manage."""
    if host.role != "manager":
        return not_applicable("only managers listen there")
    return _over_tcp(host, evidence, SWARM_PORT, "nodes cannot join it or take orders from it")


def gossip_tcp(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether others can tell it about the network's nodes."""
    return _over_tcp(host, evidence, GOSSIP_PORT, "nodes do not learn of each other's networks")


def gossip_udp(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether it hears the network's nodes."""
    return _over_udp(host, evidence, GOSSIP_PORT, "nodes take each other for dead, and names do not resolve")


def vxlan_port(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether overlay networks' packets come in."""
    return _over_udp(host, evidence, VXLAN_PORT, "containers on the two do not reach each other over overlay networks")


def _others(host: HostEvidence, evidence: Evidence) -> list[HostEvidence]:
    return [other for other in evidence.hosts if other.name != host.name and other.reached and not other.reached.error]


def _over_tcp(host: HostEvidence, evidence: Evidence, port: int, why: str) -> Finding:
    others = _others(host, evidence)
    failed = [other for other in others if other.reached and (host.name, port) not in other.reached.reached]
    return _between(host, f"{port}/tcp", others, failed, why)


def _over_udp(host: HostEvidence, evidence: Evidence, port: int, why: str) -> Finding:
    if host.reached is None or host.reached.error:
        return unknown((host.reached and host.reached.error) or "it has no python3 to listen with")
    others = _others(host, evidence)
    failed = [other for other in others if (other.name, port) not in host.reached.heard]
    return _between(host, f"{port}/udp", others, failed, why)


def _between(
    host: HostEvidence, port: str, others: list[HostEvidence], failed: list[HostEvidence], why: str
) -> Finding:
    if not others:
        return not_applicable("no other host to try it from")
    if not failed:
        return ok(f"from {', '.join(other.name for other in others)}")
    ways = ", ".join(f"{other.name} → {host.name}" for other in failed)
    sources = ", ".join(other.address for other in failed)
    return failure(
        f"not from {', '.join(other.name for other in failed)}",
        f"nothing arrives at {port} on the way {ways}: {why}",
        f"let {port} from {sources} in on {host.name} (`nft list ruleset`, `ufw status`), and through what is between",
    )


def iptables(host: HostEvidence, _: Evidence) -> Finding:
    """Whether all rules are of one kind."""
    kernel, mixed = host.read(Kernel), host.read(Engine).mixed_iptables
    if not kernel.iptables:
        return not_applicable("iptables is not installed yet")
    if mixed or (kernel.iptables == "legacy" and kernel.nft_rules):
        other = "legacy" if mixed else "nft"
        return warning(
            "two kinds mixed",
            f"iptables is of the kind {kernel.iptables}, and there are rules of the other kind, which it does not"
            " see: they may drop what Docker lets through",
            f"`iptables-{other}-save` shows them; remove their source, then reboot",
        )
    return ok(kernel.iptables)


def published(host: HostEvidence, _: Evidence) -> Finding:
    """Which ports services and containers open to all."""
    runtime, links = host.read(Runtime), host.read(Links)
    if not runtime.answers:
        return not_applicable("no engine runs that could open one")
    ports = ", ".join(map(str, runtime.published))
    if links.ufw and runtime.published:
        return warning(
            f"{len(runtime.published)} past ufw",
            f"ufw is on and does not stop what Docker lets in: {ports}",
            "rules in the chain DOCKER-USER, or do not publish the port",
        )
    return ok(
        f"{len(runtime.published)} open" if ports else "none", f"open to all who reach it: {ports}" if ports else ""
    )
