"""How a cluster's engines get a newer version, one host after the other.

Packages are downloaded everywhere first, so that a full disk or a silent mirror shows before any node is drained.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra import host, inventory, state
from pyinfra.api.command import PyinfraCommand

from facts.apt import Apt
from facts.engine import PACKAGES, Engine
from facts.swarm import Swarm
from operations import leader, turn
from operations.attempt import Attempt
from operations.engine import restart
from operations.known import answering, converges, known
from operations.packages import Wanted, failure, hold, install
from operations.refusal import Refused
from operations.version import MIX, choose, major, mixed, upstream, who_has

Steps = Generator[PyinfraCommand, None, None]


@converges()
def downloaded(wanted: Wanted, crosses: bool) -> Steps:
    """Download what is newer, if the whole cluster may have it.

    Args:
        crosses: whether the engine's major version may change.
    """
    packages = _newer(wanted, crosses)
    if not packages:
        host.noop("nothing is newer")
        return
    yield (attempt := Attempt(f"{install('--download-only')} {' '.join(packages)}"))
    if attempt.failed:
        raise Refused(failure(f"downloading {' '.join(packages)}", attempt))


@converges(Engine, Swarm, Apt, everywhere=True)
def upgraded(wanted: Wanted, crosses: bool, folder: Path) -> Steps:
    """Upgrade this host's engine while its work runs elsewhere; call it with `_serial`, so that it is one at a time.

    Args:
        crosses: as for `downloaded`.
        folder: the cluster's, which keeps the key that a locked manager asks for.
    """
    packages = _newer(wanted, crosses)
    if not packages:
        host.noop("nothing is newer")
        return
    yield from turn.taken("upgrading its engine", folder, lambda: _upgrade(packages, wanted))


def _upgrade(packages: list[str], wanted: Wanted) -> Generator[PyinfraCommand, None, turn.Outcome]:
    yield (attempt := Attempt(f"{install()} {' '.join(packages)} && {hold(wanted)}"))
    why = failure(f"upgrading {' '.join(packages)}", attempt) if attempt.failed else ""
    # Docker's own packages restart the engine; Debian's leave the old one running.
    if (found := known(Engine)).active and not found.stale:
        return turn.Outcome(why, runs=True)
    outcome = yield from restart()
    return turn.Outcome(why or outcome.failure, outcome.runs)


def _newer(wanted: Wanted, crosses: bool) -> list[str]:
    """The packages of this host's engine that are not yet what the cluster is to have, as apt-get takes them."""
    found = known(Engine)
    if found.source != wanted.source:
        raise Refused(f"has no engine from engine_source = {wanted.source!r}; run deploys/swarm.py first")
    engine, cli, *others = PACKAGES[wanted.source]
    target = _target(wanted)
    if target != found.version:
        _may_become(target, wanted, crosses)
    offers = known(Apt).offers
    goals = {engine: target, cli: target if target in offers[cli].versions else offers[cli].candidate}
    goals |= {package: offers[package].candidate for package in others}
    return [
        f"{package}={goal}" for package, goal in goals.items() if goal and found.packages.get(package, goal) != goal
    ]


def _target(wanted: Wanted) -> str:
    """The version that all hosts can have."""
    offers = {
        other.name: known(Apt, of=other).offers[wanted.engine]
        for other, seen in answering(Engine, inventory)
        if seen.source == wanted.source
    }
    try:
        return choose(host.name, wanted.version, offers, {}).version
    except ValueError as error:
        raise Refused(str(error)) from error


def _may_become(target: str, wanted: Wanted, crosses: bool) -> None:
    """Refuse a version that is older than what runs, or of another major where that is not to be."""
    found = known(Engine)
    offered = known(Apt).offers[wanted.engine].versions
    if found.version in offered and offered.index(found.version) < offered.index(target):
        raise Refused(
            f"has engine {found.version}, and {target} is older: an engine's data are not made for a way back."
            " Look at engine_version and at apt's sources, then run again"
        )
    if not mixed([found.version, target]):
        return
    if not crosses:
        raise Refused(
            f"from engine {found.version} to {target} it is another major version. While the hosts change one after the"
            f" other, the cluster has both, and {MIX}: services may not reach each other until the last host is done."
            " Read Docker's release notes; to do it, add --data major=true"
        )
    if stay := _unreached(target):
        raise Refused(
            f"going to {target} would leave a mixed cluster, for this run does not reach all of it: {who_has(stay)};"
            f" {MIX}. Bring them back (or remove their entries), then run again for all hosts"
        )


def _unreached(target: str) -> dict[str, str]:
    """The engines of another major than `target` that this run does not upgrade, by host."""
    there = leader.find()
    reached = {other.name for other in inventory if other in state.active_hosts}
    nodes = there.nodes.values() if there else ()
    return {
        node.hostname or node.id: upstream(node.version)
        for node in nodes
        if node.version and major(node.version) != major(target) and node.hostname not in reached
    }
