"""How hosts become one swarm, and what each node is in it.

Tokens never reach a command line, a file or pyinfra's output: see `operations.api`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from pyinfra import host, state
from pyinfra.api import Host
from pyinfra.api.command import PyinfraCommand

from facts.host import Host as HostFact
from facts.host import platform
from facts.swarm import SWARM_PORT, Availability, Membership, Role, Swarm, SwarmNode, SwarmState
from operations import leader
from operations.api import EngineApi, EngineError
from operations.drain import update
from operations.join import why_not
from operations.known import converges, known
from operations.leader import Leader
from operations.quorum import Quorum, objection_to_remove
from operations.refusal import OnController, Refused
from pki.records import keep_swarm_id, swarm_id

SUBNET_SIZE = 24
"""How long the prefix of each overlay network's addresses is."""
_PATIENCE = 60  # seconds
# On a node: the names of its labels that the inventory gave it, so that those which it no longer has can go.
_OURS = "inventory"


@converges()
def agreed(pool: str) -> Generator[PyinfraCommand, None, None]:
    """Stop all hosts, before any is touched, where they are in different swarms or have a route into `pool`."""
    if objection := _two_swarms(dict(leader.readable())) or _overlap(pool):
        raise Refused(objection)
    host.noop("nothing stands against it")
    yield from ()


def _overlap(pool: str) -> str:
    """Which host has a route into the overlay networks' pool; routes of networks that Docker made do not count."""
    for other, _ in leader.readable():
        for route in known(HostFact, of=other).routes:
            if ipaddress.ip_network(route, strict=False).overlaps(ipaddress.ip_network(pool)):
                return f"overlay_pool {pool} overlaps {route}, which {other.name} has a route to; choose another"
    return ""


def _two_swarms(states: Mapping[Host, SwarmState]) -> str:
    """Which host is in which swarm, if that is more than one; empty otherwise."""
    of = {node: state.membership.cluster_id for state in states.values() if state.membership for node in state.nodes}
    swarms: dict[str, list[str]] = {}
    for other, seen in states.items():
        # One that is locked or finds nobody cannot say which swarm it is in.
        if seen.membership and seen.membership.active:
            swarms.setdefault(_swarm_of(seen.membership, of), []).append(other.name)
    if len(swarms) < 2:
        return ""
    who = "; ".join(f"{' and '.join(names)} in {swarm}" for swarm, names in swarms.items())
    return (
        f"the hosts are in different swarms: {who}. Take those that you want in another swarm out of theirs"
        " (pyinfra INVENTORY deploys/leave.py --limit NAME), then run again"
    )


def _swarm_of(membership: Membership, of: Mapping[str, str]) -> str:
    """The ID of a member's swarm; where none of its managers answers, where these are."""
    known_id = membership.cluster_id or of.get(membership.node_id, "")
    return known_id or f"the swarm managed at {', '.join(membership.managers) or 'an unknown place'}"


@converges(Swarm, everywhere=True)
def initialised(address: str, pool: str, data_path_address: str, folder: Path) -> Generator[PyinfraCommand, None, None]:
    """Start a swarm on the first manager that can be reached, unless there is one.

    Args:
        pool: the networks that overlay networks are cut from, e.g. `10.201.0.0/16`.
        data_path_address: where the overlay networks' traffic enters this host; empty for `address`.
        folder: the cluster's, which remembers the swarm's ID.
    """
    if _founder() != host.name:
        host.noop("another manager comes first")
        return
    if there := leader.find():
        if swarm_id(folder) == there.cluster_id:
            host.noop("there is a swarm")
            return
        yield OnController("remembering the swarm", lambda: keep_swarm_id(folder, there.cluster_id))
        return
    if objection := _may_be_elsewhere(swarm_id(folder)):
        raise Refused(f"starting a swarm: {objection}")
    yield OnController("starting the swarm", lambda: _init(address, pool, data_path_address, folder))


def _founder() -> str:
    """The first manager of the inventory that this run still works on."""
    return next((other.name for other in leader.managers() if other in state.active_hosts), "")


def _may_be_elsewhere(remembered: str) -> str:
    """Why the cluster's swarm may exist although no manager speaks for it; empty if it does not."""
    for other, seen in leader.readable():
        if seen.membership and seen.membership.inside:
            return (
                f"{other.name} is in one already ({_swarm_of(seen.membership, {})}, {seen.membership.state}), and no"
                " manager of it decides. Bring its managers back; or, if they are lost, take this host out of it"
                f" (pyinfra INVENTORY deploys/leave.py --limit {other.name}); then run again"
            )
    silent = [other.name for other in leader.managers() if other not in state.active_hosts]
    if remembered and silent and state.limit_hosts is not None:
        return (
            f"this cluster was the swarm {remembered}, and {' and '.join(silent)} is outside of --limit; run it without"
        )
    if remembered and silent:
        return (
            f"{' and '.join(silent)} does not answer for the swarm {remembered} that this cluster was; bring it back,"
            " or take it out of `managers` if it is lost; then run again"
        )
    return ""


def _init(address: str, pool: str, data_path_address: str, folder: Path) -> None:
    api = EngineApi(host)
    api.post(
        "/swarm/init",
        {
            "ListenAddr": f"0.0.0.0:{SWARM_PORT}",
            "AdvertiseAddr": address,
            "DataPathAddr": data_path_address,
            "DefaultAddrPool": [pool],
            "SubnetSize": SUBNET_SIZE,
        },
    )
    keep_swarm_id(folder, api.get("/swarm")["ID"])


@converges(Swarm, everywhere=True)
def joined(role: Role, address: str, data_path_address: str, now: bool) -> Generator[PyinfraCommand, None, None]:
    """Join the swarm as `role`, unless this host is in it.

    Args:
        data_path_address: as for `initialised`.
        now: whether this line of the deploy is the host's turn; managers join one after the other.
    """
    membership = known(Swarm).membership
    if not now:
        host.noop("not its turn")
        return
    if membership is None:
        raise Refused("joining the swarm: its engine does not run; look at what failed above, then run again")
    there = leader.required("joining the swarm")
    if membership.node_id in there.nodes and membership.active:
        _still_there(known(Swarm), address, data_path_address)
        host.noop("already in the swarm")
        return
    if membership.active:
        raise Refused(
            f"is in another swarm than {there.host.name}, as node {membership.node_id};"
            f" pyinfra INVENTORY deploys/leave.py --limit {host.name} if you want it in this one, then run again"
        )
    if membership.state == "locked":
        raise Refused(f"its swarm is locked; `docker swarm unlock` on {host.name}, then run again")
    entry = there.nodes.get(membership.node_id)
    if entry and entry.hostname:
        # It is in the swarm and has not found it again yet, as after a power cut.
        yield OnController("waiting until it is back in the swarm", lambda: await_active(EngineApi(host)))
        return
    yield OnController(
        f"joining the swarm of {there.host.name}", lambda: _join(there, role, address, data_path_address)
    )


def _still_there(seen: SwarmState, address: str, data_path_address: str) -> None:
    """Refuse where a member's addresses are not those of the inventory: an engine takes them only when it joins.

    A manager that the others look for in the wrong place is lost to them; source: moby/moby#41043.
    """
    for what, joined_with, wanted in (
        ("address", seen.advertised, address),
        ("data_path_address", seen.data_path or seen.advertised, data_path_address or address),
    ):
        if joined_with and joined_with != wanted:
            raise Refused(
                f"is in the swarm with {what} {joined_with}, and the inventory says {wanted}. Correct the inventory, or"
                f" take it out (pyinfra INVENTORY deploys/leave.py --limit {host.name}) and run again"
            )


def await_active(api: EngineApi) -> None:
    """Wait until an engine takes part in its swarm again.

    Raises:
        ValueError: it does not, within a minute.
    """
    _await(
        lambda: api.get("/info")["Swarm"]["LocalNodeState"] == "active",
        f"{api.host.name} takes no part in its swarm (look at `journalctl -u docker` there)",
    )


def _join(there: Leader, role: Role, address: str, data_path_address: str) -> None:
    api = EngineApi(host)
    token = there.api.get("/swarm")["JoinTokens"][role.capitalize()]
    cut_off = api.get("/info")["Swarm"]
    if cut_off["LocalNodeState"] != "inactive":
        listed = cut_off["NodeID"] in {node["ID"] for node in there.api.get("/nodes")}
        if cut_off["NodeID"] and not listed:
            raise ValueError(
                f"it belongs to another swarm, which does not answer, as node {cut_off['NodeID']};"
                f" pyinfra INVENTORY deploys/leave.py --limit {host.name} if you want it in this one, then run again"
            )
        # No manager ever learnt this node's name, and it would be listed as Unknown for ever.
        api.post("/swarm/leave?force=true")
        if listed:
            there.api.delete(f"/nodes/{cut_off['NodeID']}?force=true")
    try:
        api.post(
            "/swarm/join",
            {
                "RemoteAddrs": [f"{there.address}:{SWARM_PORT}"],
                "JoinToken": token,
                "AdvertiseAddr": address,
                "DataPathAddr": data_path_address,
                "ListenAddr": f"0.0.0.0:{SWARM_PORT}",
            },
        )
    except EngineError as error:
        raise ValueError(f"{error}. {why_not(host, there.host)}") from error


@converges(Swarm, everywhere=True)
def promoted(wanted: bool) -> Generator[PyinfraCommand, None, None]:
    """Make this host's node a manager where it is `wanted` to be one and is not."""
    there = leader.required("promoting it")
    node = there.node_of(host)
    if not wanted or node.role == "manager":
        host.noop("nothing to promote")
        return
    yield OnController("promoting it to manager", lambda: _promote(there, node.id))


def _promote(there: Leader, node: str) -> None:
    update(there.host, node, {"Role": "manager"})
    _await(lambda: _manager(there.api, node).get("Reachability") == "reachable", "it is not a reachable manager")


@converges(Swarm, everywhere=True)
def demoted(wanted: bool) -> Generator[PyinfraCommand, None, None]:
    """Make this host's node a worker where it is `wanted` to be one and is not, if the quorum holds without it."""
    there = leader.find(besides=host.name) or leader.required("demoting it")
    node = there.node_of(host)
    if not wanted or node.role == "worker":
        host.noop("nothing to demote")
        return
    if objection := objection_to_remove(there.nodes.values(), node.id):
        raise Refused(
            f"demoting it to worker: {objection}; bring the other managers back or add one first, then run again"
        )
    yield OnController("demoting it to worker", lambda: demote(there, node.id))


def demote(there: Leader, node: str) -> None:
    """Make a manager a worker, and wait until it is one; the caller has looked at the quorum."""
    update(there.host, node, {"Role": "worker"})
    _await(lambda: not _manager(there.api, node), "it is still a manager")


def _manager(api: EngineApi, node: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = api.get(f"/nodes/{node}").get("ManagerStatus") or {}
    return found


def _await(reached: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + _PATIENCE
    said = ""
    while time.monotonic() < end:
        try:
            if reached():
                return
            said = ""
        except EngineError as error:  # it starts itself, or the managers are still choosing a leader
            said = f": {error}"
        time.sleep(1)
    raise ValueError(f"{otherwise} after {_PATIENCE} s{said}")


@converges(Swarm, everywhere=True)
def known_once(address: str) -> Generator[PyinfraCommand, None, None]:
    """Forget former entries of this host, which would be listed as Down for ever.

    A Pi whose card was written anew, or whose join was cut off, comes back as another node.
    """
    there = leader.required("forgetting its former entries")
    own = there.node_of(host)
    former = former_entries(there, own.id, address)
    if not former:
        host.noop("has one entry")
        return
    for node in former:
        if objection := objection_to_remove(there.nodes.values(), node.id):
            raise Refused(
                f"forgetting its former entry, manager {node.id}: {objection}; bring the other managers back,"
                " then run again"
            )
    yield OnController("forgetting its former entries", lambda: remove(there, former))


def former_entries(there: Leader, own_id: str, address: str) -> list[SwarmNode]:
    """What a manager lists of this host besides the node `own_id` that it is now."""
    return [
        node
        for node in there.nodes.values()
        if node.id != own_id
        # An address is one host's, and the host says which node it is; the manager may take the other
        # for alive a while longer.
        and (node.address == address or (node.hostname == host.name and node.state != "ready"))
    ]


def remove(there: Leader, nodes: Iterable[SwarmNode]) -> None:
    """Take nodes' entries out of the swarm; the caller has looked at the quorum."""
    for node in nodes:
        if node.role == "manager":
            demote(there, node.id)
        there.api.delete(f"/nodes/{node.id}?force=true")


@converges(Swarm, everywhere=True)
def described(labels: Mapping[str, str], availability: Availability) -> Generator[PyinfraCommand, None, None]:
    """Give this host's node its labels and availability, and say what its kernel can do; a person's labels stay.

    Args:
        labels: all that the inventory gives it; those which it gave earlier and no longer does are taken away.
    """
    there = leader.required("labelling the node")
    node = there.node_of(host)
    facts = known(HostFact)
    ours = sorted(labels)
    wanted = {
        **labels,
        "ipvs": "true" if facts.ipvs else "false",
        "platform": platform(facts.architecture, facts.machine),
        **({_OURS: " ".join(ours)} if ours else {}),
    }
    former = {*node.labels.get(_OURS, "").split(), _OURS}
    merged = {key: value for key, value in node.labels.items() if key not in former} | wanted
    if merged == node.labels and node.availability == availability:
        host.noop("already labelled")
        return
    yield OnController(
        "labelling the node",
        lambda: update(there.host, node.id, {"Labels": merged, "Availability": availability}),
    )


def tolerance(managers: int) -> str:
    """What a number of managers means, in a sentence."""
    all_well = Quorum(managers, managers)
    return f"{managers} managers tolerate {all_well.tolerates} failures, as {managers - 1} would"
