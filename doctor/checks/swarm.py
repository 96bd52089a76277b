"""The swarm: who is in it, who decides, what it remembers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from doctor.checks.advice import NO_SWARM, PROVISION, SILENT_ENGINE
from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, failure, not_applicable, ok, together, unknown, warning
from facts.engine import Engine
from facts.host import Host, platform
from facts.runtime import Overlay, Runtime
from facts.swarm import Membership, Swarm, SwarmNode
from operations.quorum import Quorum

_NO_MANAGER = "no manager that was asked lists the nodes"


def membership(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether it takes part in the cluster's swarm."""
    found = host.read(Swarm).membership
    if found is None and host.read(Engine).source:
        return unknown(SILENT_ENGINE)
    if found is None or not found.inside:
        if not evidence.nodes:
            return not_applicable(NO_SWARM)
        return warning("not a member", "the others form a swarm without it", PROVISION)
    if found.state == "locked":
        return failure("locked", "its manager waits for the unlock key since it started", PROVISION)
    if not found.active:
        return failure(found.state, f"it cannot take part: {found.error or 'it finds no manager'}", PROVISION)
    if evidence.nodes and found.node_id not in evidence.nodes:
        return failure(
            "another swarm",
            "it is a member of a swarm that the cluster's manager does not know it from",
            f"`pyinfra inventory.py deploys/leave.py --limit {host.name}`, then {PROVISION}",
        )
    return together(_oddities(host, found, evidence.nodes.get(found.node_id)), ok(found.role))


def _oddities(host: HostEvidence, found: Membership, node: SwarmNode | None) -> Iterator[Finding]:
    if node and node.state != "ready":
        yield failure(
            f"{found.role}, {node.state}",
            "the managers do not hear of it, and run its tasks elsewhere",
            "see the ports and the clock above; `journalctl -u docker` there",
        )
    if found.role != host.role:
        yield warning(f"{found.role}", f"the inventory wants it as {host.role}", PROVISION)


def advertised(host: HostEvidence, _: Evidence) -> Finding:
    """Whether it tells the swarm the address that the inventory says."""
    found, runtime = host.read(Swarm).membership, host.read(Runtime)
    if found is None or not found.inside or not runtime.node_address:
        return not_applicable(NO_SWARM)
    if runtime.node_address == host.address:
        return ok(runtime.node_address)
    why = f"it advertises {runtime.node_address}, and the inventory says {host.address}"
    if found.role == "manager":
        return failure(
            runtime.node_address,
            f"{why}; a manager keeps for ever the address that it joined with",
            f"give it {runtime.node_address} again; or `pyinfra inventory.py deploys/leave.py --limit {host.name}`,"
            f" then {PROVISION}",
        )
    return warning(
        runtime.node_address, why, f"`pyinfra inventory.py deploys/leave.py --limit {host.name}`, then {PROVISION}"
    )


def availability(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether it gets tasks as the inventory says."""
    found = host.read(Swarm).membership
    if found is None or not found.inside:
        return not_applicable(NO_SWARM)
    node = evidence.nodes.get(found.node_id)
    if node is None:
        return unknown(_NO_MANAGER)
    if node.availability == host.availability:
        return ok(node.availability)
    return warning(
        node.availability,
        f"the inventory says {host.availability}"
        + (", and no task runs there" if node.availability == "drain" else ", and no new task comes there"),
        f"{PROVISION}, or `docker node update --availability {host.availability} {host.name}`",
    )


def quorum(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether the managers can decide, and how many of them may fail."""
    if host.role != "manager":
        return not_applicable("not a manager")
    found = host.read(Swarm).membership
    if found is None or not found.inside:
        return _intended(len(evidence.managers))
    if not evidence.nodes:
        return failure(
            "lost",
            "no manager knows the nodes: more than half of the managers have to reach each other",
            "bring managers back; if they are lost for good, `docker swarm init --force-new-cluster` on one of them",
        )
    now = Quorum.of(evidence.nodes.values())
    value = f"{now.reachable} of {now.managers}, may lose {now.tolerates}"
    return together(_weaknesses(now, value), ok(value))


def _intended(managers: int) -> Finding:
    value = f"{managers} planned, may lose {Quorum(managers, managers).tolerates}"
    return warning(value, _even(managers), _odd(managers)) if managers % 2 == 0 else ok(value)


def _weaknesses(now: Quorum, value: str) -> Iterator[Finding]:
    if now.reachable < now.managers:
        yield warning(value, str(now), "bring the missing manager back, or demote it (`docker node demote`)")
    if now.managers % 2 == 0:
        yield warning("" if now.reachable < now.managers else value, _even(now.managers), _odd(now.managers))


def _even(managers: int) -> str:
    return f"{managers} managers tolerate as many failures as {managers - 1}, and there is one more to fail"


def _odd(managers: int) -> str:
    return f"{managers - 1} or {managers + 1} managers in the inventory"


def entries(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether the swarm lists nodes that are no more."""
    found = host.read(Swarm).membership
    if found is None or not found.inside:
        return not_applicable(NO_SWARM)
    if not evidence.nodes:
        return unknown(_NO_MANAGER)
    alive = {state.membership.node_id for state in evidence.all(Swarm).values() if state.membership}
    gone = [node for node in evidence.nodes.values() if node.id not in alive and node.state != "ready"]
    mine = [node for node in gone if _whose(node, evidence) == host.name]
    if not mine:
        return ok("one")
    which = ", ".join(f"{node.hostname or 'one without a name'} ({node.id}, {node.state})" for node in mine)
    return warning(
        f"{len(mine)} too many",
        f"the swarm still lists {which}",
        "; ".join(f"`docker node demote {node.id}`" for node in mine if node.role == "manager")
        or "; ".join(f"`docker node rm --force {node.id}`" for node in mine),
    )


def _whose(node: SwarmNode, evidence: Evidence) -> str:
    """The host that a dead entry is told to: whose name or address it has, else a manager that lists it.

    Empty for a host of the inventory that does not answer or was not asked: it may come back as that node.
    """
    examined = {host.name: host for host in evidence.hosts}
    for name, address in evidence.inventory.items():
        if node.hostname == name or node.address == address:
            return name if name in examined and not examined[name].silence else ""
    return next(name for name, state in evidence.all(Swarm).items() if state.nodes)


def address_pool(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether overlay networks get addresses that nothing else has."""
    runtime = host.read(Runtime)
    pools = runtime.pools or (evidence.overlay_pool,)
    taken = [
        (pool, route)
        for pool in (*pools, *_subnets(runtime.networks))
        for route in host.read(Host).routes
        if ipaddress.ip_network(route, strict=False).overlaps(ipaddress.ip_network(pool, strict=False))
    ]
    if taken:
        pool, route = taken[0]
        return failure(
            pool,
            f"overlay networks get addresses of {pool}, and this host reaches {route} by a route of its own",
            "another `overlay_pool` in group_data/all.py and a new swarm; or another network for the hosts",
        )
    return ok(", ".join(pools))


def _subnets(networks: tuple[Overlay, ...]) -> Iterator[str]:
    return (subnet for network in networks for subnet in network.subnets if ":" not in subnet)


def registry(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether it can pull from the cluster's registry."""
    stock = evidence.stock
    if stock is None:
        return not_applicable("this computer has no login for the registry")
    if stock.trouble:
        return _silent_registry(host, evidence, stock.trouble)
    if stock.image is None:
        return not_applicable("there is nothing in the registry yet")
    if host.pull is None:
        return unknown("no engine runs that could pull")
    if host.pull.error:
        return failure(
            "cannot pull",
            f"pulling {stock.image.reference}: {host.pull.error}",
            f"{PROVISION}, which has the engine trust the registry; see port 5000 on {evidence.registry_node}",
        )
    return ok("trusted")


def _silent_registry(host: HostEvidence, evidence: Evidence, trouble: str) -> Finding:
    if not evidence.registry_started:
        return not_applicable("there is no registry yet")
    if host.name != evidence.registry_node:
        return unknown("the registry does not answer")
    return failure(
        "no answer",
        f"the registry should run here, and {trouble}",
        "`docker ps --all` there shows it; `python -m image build-all` starts it anew",
    )


def prometheus(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether Prometheus' node is one of 64 bits."""
    if host.name != evidence.prometheus_node:
        return not_applicable("Prometheus runs elsewhere")
    state = host.read(Host)
    runs = platform(state.architecture, state.machine)
    if not _is_narrow(runs):
        return ok(runs)
    why = "Prometheus maps its data into memory, and 32 bits have no room for more than a few GiB"
    better = [
        name
        for name, other in evidence.all(Host).items()
        if not _is_narrow(platform(other.architecture, other.machine))
    ]
    if better:
        return warning(
            runs, why, f"a 64-bit host as `prometheus_node` in group_data/all.py: {' or '.join(sorted(better))}"
        )
    return warning(runs, why, "a short retention in stack/settings.toml; or a 64-bit host as `prometheus_node`")


def _is_narrow(platform: str) -> bool:
    """Whether programs for it have addresses of 32 bits."""
    return platform.startswith("linux/arm/") or platform == "linux/i386"
