"""A stack -> `docker stack deploy` -> watched until it has converged, and remembered as a revision."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import docker
import requests

from image import settings
from image.builder.published import Published
from image.cluster import Cluster
from image.errors import UserError
from image.registry import lock
from image.registry.client import Registry
from image.run import run
from image.stack import difference, dry_run, history, lint, secrets, sizing, status, template, watch
from image.stack.difference import Change
from image.stack.history import Revision
from image.stack.rollout import NAMESPACE_LABEL, STACK, Rollout, tell
from image.stack.status import Status


@dataclass(frozen=True)
class Outcome:
    """What a deploy did."""

    changes: tuple[Change, ...]
    waited: bool
    """Not all ran at first, or not as it should."""
    revision: int
    new: bool
    """Whether the revision has run for the first time: the history had it not, or as one that did not run."""
    progress: tuple[watch.Progress, ...]

    def __str__(self) -> str:
        removed = dict.fromkeys(change.service for change in self.changes if change.removes)
        deployed = dict.fromkeys(change.service for change in self.changes if not change.removes)
        words = (("deployed" if self.new else "put right", deployed), ("removed", removed))
        parts = [f"{word} {', '.join(names)}" for word, names in words if names]
        if not parts:
            parts.append("told again, waited until all ran" if self.waited else "nothing to do")
        revision = f"{'new revision' if self.new else 'revision'} {self.revision}"
        return f"stack {STACK}: {', '.join(parts)}; {', '.join(map(str, self.progress))}; {revision}"


def checked(cluster: Cluster, images: Iterable[Published]) -> Rollout:
    """The stack for a swarm, after a look at what would go wrong; raises UserError with all of it at once."""
    images = tuple(images)
    stack = template.compose(cluster, images)
    with cluster.manager() as client:
        others = lint.published_ports(client.api.services(), STACK, cluster.nodes)  # type: ignore[no-untyped-call]
    platforms = {image.reference: image.platforms for image in images}
    port = int(cluster.registry.rpartition(":")[2])
    found = lint.lint(stack.compose, lint.Swarm(cluster.nodes, others, platforms, port))
    if found:
        lines = template.lines(template.filled_with(cluster, images))
        said = "\n".join(f"  {template.TEMPLATE.name}, line {lines[one.line - 1]}: {one.message}" for one in found)
        raise UserError(f"the stack would not do what it says:\n{said}", "python -m image render shows it filled in")
    return stack


def deploy(
    cluster: Cluster,
    rollout: Rollout,
    timeout: float,
    show: Callable[[tuple[watch.Progress, ...]], None],
    note: str = "",
) -> Outcome:
    """Make the swarm run a stack, see to it that it does, and have it remembered as a revision.

    The manager is told where what runs differs from what is wanted, also if somebody changed it by hand. A
    rollout that fails stays in the history, as one that failed.

    Args:
        timeout: seconds until all must run.
        show: is told how far each service is.
        note: what the history says of a new revision.

    Raises:
        UserError: docker or the swarm refuses the stack, a secret is not there, or somebody else may be rolling out
            another stack (nothing is changed then); it does not converge, or somebody else changed it meanwhile.
    """
    if missing := secrets.lacking(cluster, rollout.secrets):
        raise UserError(unset(cluster, missing), f"{secrets.how_to_set(cluster, missing)}; then the same command again")
    with cluster.manager() as client:
        plan = _plan(cluster, rollout, client)
        _refuse_what_docker_would(cluster, plan.changes)
        _refuse_beside_another(cluster, plan, timeout)
        revision = plan.revision or history.write(client, history.begun(plan.revisions, rollout, note))
        try:
            progress = _roll_out(cluster, rollout, client, plan, revision, timeout, show)
        except BaseException:  # Ctrl-C, too: the next one need not wait for this one
            if not revision.good:
                with suppress(UserError, docker.errors.DockerException, requests.RequestException):
                    history.settle(client, revision, "failed")
            raise
        if not revision.good or revision.login != plan.login:
            history.settle(client, replace(revision, login=plan.login), "good")
        return Outcome(plan.changes, plan.late, revision.number, not revision.good, progress)


def unset(cluster: Cluster, missing: Collection[str]) -> str:
    """What is wrong where a swarm lacks secrets of a stack, by their names in the swarm."""
    return f"the stack needs what the swarm of {cluster.name} does not have: the secret {secrets.plain(missing)}"


def warnings(cluster: Cluster, planned: Rollout | None = None) -> str:
    """What the owner should know beforehand, a line each; empty where there is nothing.

    Args:
        planned: a stack that may lack secrets, which a deploy would refuse.
    """
    said = list(sizing.doubts(template.prometheus_node(cluster), cluster.nodes))
    if planned and (missing := secrets.lacking(cluster, planned.secrets)):
        said.append(f"{unset(cluster, missing)}; before deploy: {secrets.how_to_set(cluster, missing)}")
    return "".join(f"Warning: {one}\n" for one in said)


def needing(cluster: Cluster, gone: Collection[secrets.Version]) -> tuple[int, ...]:
    """The numbers of the revisions that need one of these versions; raises UserError."""
    names = {one.name for one in gone}
    return tuple(one.number for one in revisions(cluster) if one.readable and one.rollout.secrets & names)


def changes(cluster: Cluster, rollout: Rollout) -> tuple[Change, ...]:
    """What a deploy would change in the services that run; raises UserError."""
    with cluster.manager() as client:
        return _plan(cluster, rollout, client).changes


def revisions(cluster: Cluster) -> tuple[Revision, ...]:
    """All that the swarm remembers, the oldest first; raises UserError."""
    with cluster.manager() as client:
        return history.read(client)


def status_of(cluster: Cluster) -> Status:
    """How the stack is; raises UserError."""
    with cluster.manager() as client:
        return status.read(client)


def rollback(
    cluster: Cluster, number: int | None, timeout: float, show: Callable[[tuple[watch.Progress, ...]], None]
) -> Outcome:
    """Go back to a revision, by default the good one before the last; all comes from the swarm.

    Raises:
        UserError: there is no such revision, the registry has lost an image of it, the swarm a secret, or as `deploy`
            does.
    """
    with cluster.manager() as client:
        revision = history.wanted(history.read(client), number)
    if gone := secrets.lacking(cluster, revision.rollout.secrets):
        raise UserError(
            f"revision {revision.number} needs what the swarm of {cluster.name} no longer has: the secret "
            + ", ".join(gone),
            f"another revision: python -m image history; or {cluster.command} deploy, with the values of today",
        )
    registry = Registry.of(cluster)
    here = lock.patient(cluster, lambda: revision.rollout.found_at(registry.address, registry.has))
    if missing := revision.rollout.ours(registry.address) - here.keys():
        raise UserError(
            f"revision {revision.number} needs what the registry at {cluster.registry} no longer has: "
            + ", ".join(sorted(missing)),
            "another revision: python -m image history",
        )
    rollout = revision.rollout.moved(here)
    return deploy(cluster, rollout, timeout, show, f"rollback to {revision.number}")


def prune(cluster: Cluster, keep: int) -> tuple[str, ...]:
    """Forget all but the newest revisions, and the configs and secrets that nothing needs any more.

    Returns:
        The names of what was removed.

    Raises:
        UserError: the manager stopped answering.
    """
    with cluster.manager() as client:
        return history.prune(client, keep)


def tidied(cluster: Cluster, outcome: Outcome) -> str:
    """Prune after a rollback, and say what the owner should know; empty where that is nothing.

    A rollback needs nothing of the clone: a mistake in its settings does not make a failure of what is done.
    """
    from image.stack import users  # its import takes longer than what a quick command does

    try:
        chosen = settings.of(cluster)
    except UserError as error:
        return f"Warning: what nothing needs any more was not removed: {error.message}"
    if outcome.new:
        prune(cluster, chosen.keep_revisions)
    return users.taken_back(cluster, revisions(cluster)[-1].rollout)


@dataclass(frozen=True)
class _Plan:
    """What is, and what is to be done."""

    revisions: tuple[Revision, ...]
    revision: Revision | None
    """The one that there is of this very stack, where it is the last."""
    before: watch.Snapshot
    changes: tuple[Change, ...]
    stale: tuple[str, ...]
    """Services whose image somebody changed by hand."""
    login: str
    """The fingerprint of the registry's login, which the nodes are to know."""

    @property
    def late(self) -> bool:
        """Whether something has to be told, or waited for."""
        known = self.revision is not None and self.revision.login == self.login
        runs = watch.converged(watch.judge(self.before, watch.past(self.before, time.time())))
        return bool(self.changes) or not known or not runs


def _plan(cluster: Cluster, rollout: Rollout, client: docker.DockerClient) -> _Plan:
    """Ask all at once."""
    ours = {"label": f"{NAMESPACE_LABEL}={STACK}"}
    with ThreadPoolExecutor(max_workers=5) as pool:
        past = pool.submit(history.read, client)
        snapshot = pool.submit(watch.read, client, STACK)
        services = pool.submit(client.api.services, filters=ours)
        networks = pool.submit(client.api.networks)
        login = pool.submit(Registry.of(cluster).login.fingerprint, cluster.registry)
        wanted = dry_run.foretell(rollout, cluster, client)  # here, where Ctrl-C ends it
        running = {attrs["Spec"]["Name"].removeprefix(f"{STACK}_"): attrs["Spec"] for attrs in services.result()}
        names = {network["Id"]: network["Name"] for network in networks.result()}
        revisions = past.result()
        last = revisions[-1] if revisions and revisions[-1].rollout == rollout else None
        stale = tuple(name for name, spec in running.items() if name in wanted and _stale(spec, wanted[name]))
        differences = difference.compare(running, wanted, names)
        return _Plan(revisions, last, snapshot.result(), differences, stale, login.result())


def _refuse_what_docker_would(cluster: Cluster, changes: tuple[Change, ...]) -> None:
    """What docker says no to only when it has begun; raises UserError."""
    for change in changes:
        if change.field == "deploy.mode":
            kinds = [kind or "replicated" for kind in (change.before, change.after)]
            raise UserError(
                f"service {change.service} is {kinds[0]}, and a swarm cannot make it {kinds[1]}",
                f"{cluster.docker} service rm {STACK}_{change.service}; then deploy again",
            )


def _refuse_beside_another(cluster: Cluster, plan: _Plan, timeout: float) -> None:
    """Raise UserError where somebody may still be watching another stack come up."""
    other = history.under_way(plan.revisions, datetime.now(UTC), timeout)
    if other and plan.revision is None:
        raise UserError(
            f"{other.by} began to roll out revision {other.number} at {other.time}, and it may still be under way",
            "wait until it is done, as python -m image history says; or, if nobody watches it any more, "
            f"{cluster.docker} config rm {other.name}; then the same command again",
        )


def _stale(running: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    image = wanted["TaskTemplate"]["ContainerSpec"]["Image"]
    return bool(
        running["Labels"].get(dry_run.IMAGE_LABEL) == image
        and running["TaskTemplate"]["ContainerSpec"]["Image"] != image
    )


def _roll_out(
    cluster: Cluster,
    rollout: Rollout,
    client: docker.DockerClient,
    plan: _Plan,
    revision: Revision,
    timeout: float,
    show: Callable[[tuple[watch.Progress, ...]], None],
) -> tuple[watch.Progress, ...]:
    if plan.late:
        for name in plan.stale:
            # docker leaves the image alone where the label says that it has not changed
            label = ("--label-rm", dry_run.IMAGE_LABEL)
            run("docker", "service", "update", "--detach", *label, f"{STACK}_{name}", env=cluster.environment)
        # An update that failed is forgotten by telling again, also where nothing differs.
        tell(rollout, cluster)
        told = watch.read(client, STACK)
        known = {task.id for task in plan.before.tasks}
        watch.watch(client, STACK, known, timeout, show, cluster.command)
        if who := meanwhile(told, watch.read(client, STACK), history.read(client), revision):
            raise UserError(
                f"{who} while revision {revision.number} was rolled out: what runs may be another stack",
                "python -m image history, and diff; then the same command again",
            )
    now = watch.read(client, STACK)
    return watch.judge(now, {task.id for task in now.tasks})


def meanwhile(told: watch.Snapshot, now: watch.Snapshot, revisions: Sequence[Revision], ours: Revision) -> str:
    """Who has changed what the manager was told, or may have; empty where nobody has.

    All that converged is what the services are now, which need not be what they were told to be.

    Args:
        told: the stack when the manager had been told.
        now: and when it had converged.
        revisions: what the swarm remembers now, the oldest first.
    """
    if revisions and revisions[-1].number > ours.number:
        return f"{revisions[-1].by or 'somebody else'} has begun to roll out revision {revisions[-1].number}"
    before, after = told.specs, now.specs
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"somebody else has changed {', '.join(changed)}" if changed else ""
