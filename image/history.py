"""What was rolled out: each revision is a config object in the swarm itself, so that every controller sees it.

The object's data never changes. Its label `pishelf.state` says how the rollout went: `unfinished` until the
stack has converged, then `good`; or `failed`. A second controller that rolls out at the same time finds the
next number taken.
"""

from __future__ import annotations

import base64
import getpass
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from typing import Any, Literal, get_args

import docker

from image.errors import UserError
from image.rollout import NAMESPACE_LABEL, STACK, Rollout, named_by_content
from image.run import run

State = Literal["unfinished", "good", "failed"]

# Not docker's own label for what belongs to a stack: the history outlives a `docker stack rm`.
_STACK = "pishelf.stack"
_NUMBER = "pishelf.revision"
_STATE = "pishelf.state"
# What every engine takes as a config; source: MaxConfigSize of swarmkit, 500 kB, in newer ones 1000.
_MOST = 500_000
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")


@dataclass(frozen=True)
class Revision:
    """One rollout, as the swarm remembers it."""

    number: int
    state: State
    time: str
    """When it began by the controller's clock, ISO 8601 in UTC."""
    by: str
    """Who and where: user@host."""
    source: str
    """The clone's git revision, empty where there is none."""
    note: str
    rollout: Rollout
    id: str = field(default="", compare=False)
    """The config object's."""

    @property
    def good(self) -> bool:
        """Whether its stack has run."""
        return self.state == "good"

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Revision:
        """Read one entry of the Engine API's GET /configs; raises UserError for what `pack` did not write."""
        spec = attrs["Spec"]
        try:
            written = json.loads(_unpacked(base64.b64decode(spec["Data"])))
            files = {path: base64.b64decode(data) for path, data in written.pop("files").items()}
            rollout = Rollout(written.pop("compose"), files, written.pop("tags"))
            number, state = int(spec["Labels"][_NUMBER]), spec["Labels"][_STATE]
            if state not in get_args(State):
                raise ValueError(f"state {state!r}")
            return cls(number, state, **written, rollout=rollout, id=attrs["ID"])
        except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError) as error:
            raise UserError(
                f"config {spec['Name']} in the swarm is no revision that this version reads: {error!r}",
                f"docker config rm {spec['Name']}, which forgets it",
            ) from error

    def pack(self) -> bytes:
        """The config object's data, as small as need be; raises UserError where no swarm would take it."""
        values = {key: getattr(self, key) for key in ("time", "by", "source", "note")}
        files = {path: base64.b64encode(data).decode() for path, data in sorted(self.rollout.files.items())}
        rollout = {"compose": self.rollout.compose, "files": files, "tags": dict(sorted(self.rollout.tags.items()))}
        data = json.dumps({**values, **rollout}, indent=1).encode()
        if len(data) > _MOST:
            data = gzip.compress(data, mtime=0)
        if len(data) > _MOST:
            largest = max(self.rollout.files, key=lambda path: len(self.rollout.files[path]), default="")
            raise UserError(
                f"the stack and its configs are {len(data)} bytes compressed, and the swarm keeps {_MOST} at most",
                f"make {largest} smaller, or put it into an image",
            )
        return data

    @property
    def labels(self) -> dict[str, str]:
        """What finds it among the swarm's configs."""
        return {_STACK: STACK, _NUMBER: str(self.number), _STATE: self.state}

    @property
    def name(self) -> str:
        """The config object's."""
        return f"{STACK}-revision-{self.number}"


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def read(client: docker.DockerClient) -> tuple[Revision, ...]:
    """All revisions that the swarm keeps, the oldest first; raises UserError, and docker's errors."""
    found = client.api.configs(filters={"label": f"{_STACK}={STACK}"})  # type: ignore[no-untyped-call]
    return tuple(sorted((Revision.of(attrs) for attrs in found), key=lambda revision: revision.number))


def write(client: docker.DockerClient, revision: Revision) -> Revision:
    """Write a new revision; raises UserError where the swarm has one of its number."""
    try:
        made = client.api.create_config(revision.name, revision.pack(), revision.labels)
    except docker.errors.APIError as error:
        if error.status_code != 409:  # HTTP: conflict
            raise
        raise UserError(
            f"somebody else has just begun to roll out revision {revision.number}",
            "python -m image history; then the same command again",
        ) from error
    return replace(revision, id=made["ID"])


def settle(client: docker.DockerClient, revision: Revision, state: State) -> Revision:
    """Say how a rollout went; docker's library has no call for it, the Engine API has."""
    settled = replace(revision, state=state)
    url = f"{client.api.base_url}/v{client.api.api_version}/configs/{revision.id}"
    attrs = client.api.inspect_config(revision.id)  # type: ignore[no-untyped-call]
    spec = {**attrs["Spec"], "Labels": settled.labels}
    answer = client.api.post(f"{url}/update", params={"version": attrs["Version"]["Index"]}, json=spec)
    answer.raise_for_status()
    return settled


def begun(revisions: Iterable[Revision], rollout: Rollout, note: str) -> Revision:
    """The next revision, by this user on this machine, from this clone; the swarm does not have it yet."""
    number = max((revision.number for revision in revisions), default=0) + 1
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Revision(number, "unfinished", now, f"{getpass.getuser()}@{gethostname()}", _source(), note, rollout)


def _source() -> str:
    try:
        return run("git", "describe", "--always", "--dirty", cwd=Path(__file__).parent).strip()
    except UserError:  # no git, or no clone
        return ""


def prune(client: docker.DockerClient, keep: int) -> tuple[str, ...]:
    """Forget all but the newest revisions, and the configs and secrets that no service and no revision needs.

    Returns:
        The names of what was removed.
    """
    revisions = read(client)
    keeps = kept(revisions, keep)
    removed = []
    for revision in revisions:
        if revision not in keeps:
            client.api.remove_config(revision.id)  # type: ignore[no-untyped-call]
            removed.append(revision.name)
    containers = [attrs["Spec"]["TaskTemplate"].get("ContainerSpec") or {} for attrs in client.api.services()]  # type: ignore[no-untyped-call]
    ours = {"label": f"{NAMESPACE_LABEL}={STACK}"}
    for kind, listed, remove in (
        ("config", client.api.configs, client.api.remove_config),
        ("secret", client.api.secrets, client.api.remove_secret),
    ):
        used = {item[f"{kind.title()}Name"] for spec in containers for item in spec.get(f"{kind.title()}s") or ()}
        used = used.union(*(revision.rollout.objects(f"{kind}s") for revision in keeps))
        for attrs in listed(filters=ours):
            name = attrs["Spec"]["Name"]
            if named_by_content(name) and name not in used:
                remove(attrs["ID"])
                removed.append(name)
    return tuple(removed)


def kept(revisions: Iterable[Revision], most: int) -> tuple[Revision, ...]:
    """The newest that ran, so many of them, and of those that did not as many."""
    newest = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    good = [revision for revision in newest if revision.good][:most]
    others = [revision for revision in newest if not revision.good][:most]
    return tuple(sorted(good + others, key=lambda revision: revision.number))


def before(revisions: Iterable[Revision]) -> Revision | None:
    """Where a rollback goes that nobody gave a number: the newest good one that is not what was rolled out last."""
    revisions = sorted(revisions, key=lambda revision: revision.number)
    if not revisions:
        return None
    last = revisions[-1]
    others = (one for one in reversed(revisions) if one.good and one.rollout != last.rollout)
    return next(others, None)


def wanted(revisions: Sequence[Revision], number: int | None) -> Revision:
    """The revision of this number, or where a rollback goes without one; raises UserError where there is none."""
    if number is None:
        found = before(revisions)
        if found is None:
            raise UserError("no revision before the last one is good", "python -m image history")
        return found
    for revision in revisions:
        if revision.number == number:
            return revision
    known = ", ".join(str(revision.number) for revision in revisions) or "none yet"
    raise UserError(f"the swarm remembers no revision {number}", f"one of: {known}")


def references(revisions: Iterable[Revision]) -> frozenset[str]:
    """The images that the revisions name, by digest: `host:port/name@sha256:…`."""
    return frozenset(reference for one in revisions for reference in one.rollout.images.values())


def digests(revisions: Iterable[Revision]) -> frozenset[str]:
    """The digests that the revisions name, e.g. `sha256:…`: a registry that loses one breaks a rollback."""
    found = (_DIGEST.search(reference) for reference in references(revisions))
    return frozenset(match[1] for match in found if match)
