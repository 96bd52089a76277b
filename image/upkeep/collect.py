"""What of the registry is no longer needed, and how it goes without taking anything else with it."""

from __future__ import annotations

import io
import json
import math
import secrets
import tarfile
import time
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, field

import docker
import requests

from image import columns
from image import plan as images
from image.builder.bake import INCOMING
from image.cluster import Cluster
from image.errors import UserError
from image.progress import Progress, step
from image.registry import bootstrap, listing, lock, selection, usage, verification
from image.registry import stock as stocked
from image.registry.client import Registry
from image.registry.referrers import subject
from image.registry.stock import Item, Stock
from image.registry.usage import Use
from image.stack import deploy, history

VERSIONS = 3
"""How many versions of each image are kept, if nothing else is said."""
# See Registry/collect.go.
_DATA, _REQUEST = "/var/lib/registry", "collect"
_COLLECTED = '{"collected":'  # how its line in the log begins
_NEVER_PUSHED = "Path not found: /docker/registry/v2/repositories"  # how distribution's collector says it
# A large registry on a card; all files' names are read, and the manifests.
_COLLECTS_WITHIN = 900.0
_TAIL = 50
# So long what has no tag may still be a part of what is being pushed: an index arrives after its platforms.
_PUSHES_WITHIN = 3600.0


@dataclass(frozen=True)
class Wanted:
    """What has to stay."""

    uses: tuple[Use, ...]
    described: frozenset[tuple[str, str]]
    """Names and tags of the images that this clone's folders describe now."""
    history: frozenset[str] = field(default_factory=frozenset)
    """Digests that the last revisions of the stack refer to."""
    versions: int = VERSIONS
    now: float = math.inf
    """Seconds since 1970."""


@dataclass(frozen=True)
class Decision:
    """What becomes of an item; without a reason to keep it, it goes."""

    item: Item
    reason: str = ""


@dataclass(frozen=True)
class Freed:
    """Bytes in the registry's data, before and after."""

    before: int
    after: int


def kept(stock: Stock, wanted: Wanted) -> tuple[Decision, ...]:
    """Decide on every item, by name and the newest first."""
    items = stock.items()
    versions: dict[str, dict[str, None]] = {}
    for item in items:
        if item.tag not in ("", INCOMING) and not subject(item.tag) and stock.has(item.name, item.digest):
            versions.setdefault(item.name, {})[item.digest] = None
    newest = {(name, digest) for name, known in versions.items() for digest in [*known][: wanted.versions]}
    return tuple(Decision(item, _reason(stock, wanted, item, (item.name, item.digest) in newest)) for item in items)


def _reason(stock: Stock, wanted: Wanted, item: Item, newest: bool) -> str:
    """Why an item stays, or nothing."""
    if not stock.has(item.name, item.digest):  # a removal was cut off
        return ""
    users = usage.users(wanted.uses, stock, item)
    if now := sorted({use.service for use in users if not use.former}):
        return f"used by {', '.join(now)}"
    if before := sorted({use.service for use in users}):
        return f"{', '.join(before)} would roll back to it"
    if wanted.history & {*stock.closure(item.name, [item.digest])}:
        return "a revision of the stack has it"
    if (item.name, item.tag) in wanted.described:
        return "described by this clone"
    if item.tag in ("", INCOMING) or subject(item.tag):  # the last: what was said of an image that is gone
        return "perhaps being pushed" if item.pushed > wanted.now - _PUSHES_WITHIN else ""
    if item.name not in {name for name, _ in wanted.described}:
        return "not built here"
    if newest:
        return f"of the last {wanted.versions} versions"
    return ""


@dataclass(frozen=True)
class Cleaning:
    """What is to be removed, and what stays for which reason."""

    stock: Stock
    decisions: tuple[Decision, ...]
    versions: int = VERSIONS

    @property
    def going(self) -> tuple[Item, ...]:
        """The items that nothing needs."""
        return tuple(decision.item for decision in self.decisions if not decision.reason)

    def agreed(self, before: Cleaning) -> tuple[Item, ...]:
        """What goes now and went before; what was pushed between is another item."""
        went = set(before.going)
        return tuple(item for item in self.going if item in went)

    def lines(self) -> list[str]:
        """For people, before it is done."""
        shown = [("IMAGE", "DIGEST", "")]
        for decision in self.decisions:
            item, why = decision.item, decision.reason
            name = f"{item.name}:{item.tag}" if item.tag else f"{item.name} without a tag"
            shown.append((name, listing.short(item.digest), f"stays: {why}" if why else "goes"))
        freed = listing.size(self.stock.frees(self.stock.removal(self.going)))
        what = f"{len(self.going)} of {len(self.decisions)} images would be removed, which frees about {freed}"
        return [*columns.aligned(shown), "", what + ("; add --yes to do it" if self.going else "")]


@dataclass(frozen=True)
class Outcome:
    """What was removed, and what that freed."""

    removed: tuple[Item, ...]
    stays: int
    freed: Freed

    def lines(self) -> list[str]:
        """For people, afterwards."""
        before, after = self.freed.before, self.freed.after
        return [
            *(f"removed {item}" for item in self.removed),
            f"registry: {listing.size(before - after)} freed, {listing.size(before)} before and"
            f" {listing.size(after)} after; {self.stays} images stay, each blob read and whole",
        ]


def plan(cluster: Cluster, versions: int = VERSIONS) -> Cleaning:
    """Decide what goes; raises UserError where the registry or the swarm does not answer, or is damaged."""
    described = frozenset((image.name, image.tag) for image in images.read())
    holds = stocked.read(cluster)
    sound(holds, cluster)
    revisions = history.digests(deploy.revisions(cluster))
    wanted = Wanted(usage.read(cluster), described, revisions, versions, now=time.time())
    return Cleaning(holds, kept(holds, wanted), versions)


def carry_out(cluster: Cluster, cleaning: Cleaning, progress: Progress) -> Outcome:
    """Remove what is to go, have the registry collect its garbage, and look at every blob that stays.

    What was pushed or used since the plan was made stays.

    Raises:
        UserError: the registry fails, or what stays is damaged. It serves in any case, and a second run ends
            what was cut off.
    """
    registry = Registry.of(cluster)
    with lock.alone(cluster, progress):
        # A build may have pushed while this waited.
        now = plan(cluster, cleaning.versions)
        going = now.agreed(cleaning)
        with step(progress, f"remove {len(going)} images"):
            remove(registry, now.stock, going)
        with step(progress, "collect the registry's garbage"):
            freed = collect(cluster)
    holds = stocked.read(cluster)
    if damage := verification.blobs(registry, holds, progress):
        raise UserError("damaged in the registry:\n  " + "\n  ".join(damage), verification.repair(cluster))
    return Outcome(going, len(holds.items()), freed)


def sound(stock: Stock, cluster: Cluster) -> None:
    """Raise UserError where a manifest cannot be read: what it leads to would be taken for garbage."""
    if stock.damaged:
        what = "\n  ".join(stock.damaged.values())
        raise UserError(f"nothing is removed while these are damaged:\n  {what}", verification.repair(cluster))


def take_out(cluster: Cluster, names: Iterable[str], force: bool, progress: Progress) -> tuple[Item, ...]:
    """Remove what a person names; what that was.

    Args:
        force: also what a service runs.

    Raises:
        UserError: the registry has no such image, or a service runs it; nothing is removed then.
    """
    with lock.alone(cluster, progress), step(progress, "remove them"):
        holds = stocked.read(cluster)
        going = selection.select(holds, names)
        usage.refuse_used(() if force else usage.read(cluster), holds, going)
        remove(Registry.of(cluster), holds, going)
    return going


def remove(registry: Registry, stock: Stock, going: Collection[Item]) -> None:
    """Take items out of the registry; what they consisted of is garbage then. A second run ends what was cut off."""
    removal = stock.removal(going)
    for item in removal.untag:
        registry.delete(item.name, item.tag)
    for name, digest in removal.delete:
        registry.delete(name, digest)


def collect(cluster: Cluster) -> Freed:
    """Have the registry collect its garbage: it restarts and serves again when it has.

    Raises:
        UserError: the collector failed, which changes nothing that is in use; or the registry does not
            come back.
    """
    word = secrets.token_hex(8)
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            container = bootstrap.find(client)
            if container is None:
                raise UserError("there is no registry", f"{cluster.command} build-all")
            container.put_archive(_DATA, _archive(word))
            container.restart(timeout=bootstrap.STOPS_WITHIN)
            bootstrap.wait(Registry.of(cluster), client, _COLLECTS_WITHIN)
            said = container.logs(stderr=False, tail=_TAIL).decode(errors="replace")
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*bootstrap.engine_failed(cluster, error)) from error
    return report(said.splitlines(), word)


def report(lines: Iterable[str], word: str) -> Freed:
    """Find what the registry's log says of the request with this word; raises UserError where it failed."""
    reports = (json.loads(line)["collected"] for line in lines if line.startswith(_COLLECTED))
    found = next((said for said in reports if said["request"] == word), None)
    if found is None:
        raise UserError("the registry has not collected its garbage", "build-all, which starts this clone's registry")
    if (error := found.get("error", "")) and not error.endswith(_NEVER_PUSHED):
        raise UserError(f"the registry's garbage collector failed: {error}", "python -m image verify")
    return Freed(found["before"], found["after"])


def _archive(word: str) -> bytes:
    """An archive with the file that asks for it."""
    archive, content = io.BytesIO(), word.encode()
    with tarfile.open(fileobj=archive, mode="w") as opened:
        member = tarfile.TarInfo(_REQUEST)
        member.size = len(content)
        opened.addfile(member, io.BytesIO(content))
    return archive.getvalue()
