"""What was rolled out: each revision is a config object in the swarm itself, so that every controller sees it.

The object's data never changes. Its label `pishelf.state` says how the rollout went: `unfinished` until the
stack has converged, then `good`; or `failed`. A second controller that rolls out at the same time finds the
next number taken. What cannot be read, of a newer version or damaged, is `unreadable` and in nobody's way.
"""

from __future__ import annotations

import base64
import getpass
import gzip
import json
import os
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from typing import Any, Literal, get_args

import docker

from image.errors import UserError
from image.run import run
from image.stack import secrets
from image.stack.rollout import NAMESPACE_LABEL, STACK, Rollout, named_by_content

State = Literal["unfinished", "good", "failed", "unreadable"]

# Not docker's own label for what belongs to a stack: the history outlives a `docker stack rm`.
_STACK = "pishelf.stack"
_NUMBER = "pishelf.revision"
_STATE = "pishelf.state"
_LOGIN = "pishelf.login"
# What every engine takes as a config; source: MaxConfigSize of swarmkit, 500 kB, in newer ones 1000.
_MOST = 500_000
# Larger ones are compressed: whoever lists the revisions fetches all of them, and the world's CAs, which a stack that
# sends mail has among its configs, are 350 kB in JSON.
_PLAIN = 100_000
_NAME = re.compile(rf"{STACK}-revision-([0-9]{{1,9}})")
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
    login: str = field(default="", compare=False)
    """The fingerprint of the registry's login that the nodes were told with it."""

    @property
    def good(self) -> bool:
        """Whether its stack has run."""
        return self.state == "good"

    @property
    def readable(self) -> bool:
        """Whether there is a rollout in it."""
        return self.state != "unreadable"

    @property
    def unreadable(self) -> UserError:
        """What to say of one that is not."""
        return UserError(self.note, f"docker config rm {self.name}, which forgets it")

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Revision:
        """Read one entry of the Engine API's GET /configs; of what `pack` did not write the note says why."""
        spec = attrs["Spec"]
        try:
            written = json.loads(_unpacked(base64.b64decode(spec["Data"])))
            files = {path: base64.b64decode(data) for path, data in written.pop("files").items()}
            rollout = Rollout(written.pop("compose"), files, written.pop("tags"))
            number, state = int(spec["Labels"][_NUMBER]), spec["Labels"][_STATE]
            if datetime.fromisoformat(written["time"]).utcoffset() is None:
                raise ValueError(f"time {written['time']!r}")
            if state not in get_args(State):
                raise ValueError(f"state {state!r}")
            login = spec["Labels"].get(_LOGIN, "")
            return cls(number, state, **written, rollout=rollout, id=attrs["ID"], login=login)
        except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zlib.error) as error:
            note = f"config {spec['Name']} in the swarm is no revision that this version reads: {error!r}"
            nothing = Rollout("services: {}\n", {})
            return cls(_number(spec["Name"]), "unreadable", "", "", "", note, nothing, attrs["ID"])

    def pack(self) -> bytes:
        """The config object's data, as small as need be; raises UserError where no swarm would take it."""
        values = {key: getattr(self, key) for key in ("time", "by", "source", "note")}
        files = {path: base64.b64encode(data).decode() for path, data in sorted(self.rollout.files.items())}
        rollout = {"compose": self.rollout.compose, "files": files, "tags": dict(sorted(self.rollout.tags.items()))}
        data = json.dumps({**values, **rollout}, indent=1).encode()
        if len(data) > _PLAIN:
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
        return {_STACK: STACK, _NUMBER: str(self.number), _STATE: self.state, _LOGIN: self.login}

    @property
    def name(self) -> str:
        """The config object's."""
        return f"{STACK}-revision-{self.number}"


def _number(name: str) -> int:
    """What a config object's name says; 0 where it is another's."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def read(client: docker.DockerClient) -> tuple[Revision, ...]:
    """All revisions that the swarm keeps, the oldest first; raises docker's errors."""
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
    """Say how a rollout went; docker's library has no call for it, the Engine API has.

    Raises:
        UserError: somebody has removed the revision meanwhile.
    """
    settled = replace(revision, state=state)
    url = f"{client.api.base_url}/v{client.api.api_version}/configs/{revision.id}"
    try:
        attrs = client.api.inspect_config(revision.id)  # type: ignore[no-untyped-call]
    except docker.errors.NotFound as error:
        raise UserError(
            f"revision {revision.number} was removed from the history while it was rolled out",
            "python -m image status; then the same command again",
        ) from error
    spec = {**attrs["Spec"], "Labels": settled.labels}
    answer = client.api.post(f"{url}/update", params={"version": attrs["Version"]["Index"]}, json=spec)
    answer.raise_for_status()
    return settled


def under_way(revisions: Sequence[Revision], now: datetime, seconds: float) -> Revision | None:
    """The last revision, if it is unfinished and so young that somebody may still be watching it.

    Args:
        revisions: the oldest first.
        seconds: how long a rollout is watched.
    """
    if not revisions or revisions[-1].state != "unfinished":
        return None
    # Whichever clock is ahead: one that is wrong by years keeps nobody out.
    age = abs((now - datetime.fromisoformat(revisions[-1].time)).total_seconds())
    return revisions[-1] if age < seconds else None


def begun(revisions: Iterable[Revision], rollout: Rollout, note: str) -> Revision:
    """The next revision, by this user on this machine, from this clone; the swarm does not have it yet."""
    number = max((revision.number for revision in revisions), default=0) + 1
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Revision(number, "unfinished", now, f"{_user()}@{gethostname()}", _source(), note, rollout)


def _user() -> str:
    """The user's name, or number where it has no name here, as in a container of a CI."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError: since Python 3.13
        return str(os.getuid())


def _source() -> str:
    try:
        return run("git", "describe", "--always", "--dirty", cwd=Path(__file__).parent).strip()
    except UserError:  # no git, or no clone
        return ""


def prune(client: docker.DockerClient, keep: int) -> tuple[str, ...]:
    """Forget all but the newest revisions, and the configs and secrets that no service and no revision needs.

    Of each secret the newest version stays, whoever needs it.

    Returns:
        The names of what was removed.
    """
    # Listed first: what another controller adds from here on is left alone, for its revision comes before its configs.
    listed = client.api.configs(filters={"label": f"{NAMESPACE_LABEL}={STACK}"})  # type: ignore[no-untyped-call]
    held = secrets.Version.all(client.api.secrets())
    revisions = read(client)
    services = client.api.services()  # type: ignore[no-untyped-call]
    going = unneeded(listed, revisions, services, keep)
    needed = (one.rollout.secrets for one in kept(revisions, keep))
    old = secrets.unneeded(held, frozenset().union(*needed, *map(secrets.used, services)))
    for one in going:
        with suppress(docker.errors.NotFound):  # another controller was here first
            client.api.remove_config(one)  # type: ignore[no-untyped-call]
    secrets.drop(client, old)
    return (*going.values(), *(one.name for one in old))


def unneeded(
    listed: Iterable[Mapping[str, Any]],
    revisions: Collection[Revision],
    services: Iterable[Mapping[str, Any]],
    keep: int,
) -> dict[str, str]:
    """What `prune` removes: id -> name.

    Args:
        listed: the stack's configs, from the Engine API's GET /configs; `services` likewise.
    """
    keeps = kept(revisions, keep)
    containers = [attrs["Spec"]["TaskTemplate"].get("ContainerSpec") or {} for attrs in services]
    used = {item["ConfigName"] for spec in containers for item in spec.get("Configs") or ()}
    used = used.union(*(revision.rollout.configs for revision in keeps))
    names = {attrs["ID"]: attrs["Spec"]["Name"] for attrs in listed}
    forgotten = {one.id: one.name for one in revisions if one not in keeps}
    return forgotten | {id_: name for id_, name in names.items() if named_by_content(name) and name not in used}


def kept(revisions: Iterable[Revision], most: int) -> tuple[Revision, ...]:
    """The newest that ran, so many of them, and of those that did not as many."""
    newest = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    good = [revision for revision in newest if revision.good][:most]
    others = [revision for revision in newest if not revision.good][:most]
    return tuple(sorted(good + others, key=lambda revision: revision.number))


def before(revisions: Iterable[Revision]) -> Revision | None:
    """Where a rollback goes that nobody gave a number: the newest good one that is another stack than the last."""
    revisions = sorted(revisions, key=lambda revision: revision.number)
    if not revisions:
        return None
    last = revisions[-1]
    others = (one for one in reversed(revisions) if one.good and not one.rollout.same(last.rollout))
    return next(others, None)


def wanted(revisions: Sequence[Revision], number: int | None) -> Revision:
    """The revision of this number, or where a rollback goes without one; raises UserError where none can be read."""
    if number is None:
        found = before(revisions)
        if found is None:
            raise UserError("no revision before the last one is good", "python -m image history")
        return found
    for revision in revisions:
        if revision.number == number:
            if not revision.readable:
                raise revision.unreadable
            return revision
    known = ", ".join(str(revision.number) for revision in revisions) or "none yet"
    raise UserError(f"the swarm remembers no revision {number}", f"one of: {known}")


def digests(revisions: Iterable[Revision]) -> frozenset[str]:
    """The digests that the revisions name, e.g. `sha256:…`: a registry that loses one breaks a rollback.

    Raises:
        UserError: one cannot be read; what it needs would seem to be needed by nothing.
    """
    found: set[str] = set()
    for one in revisions:
        if not one.readable:
            raise one.unreadable
        found.update(match[1] for match in map(_DIGEST.search, one.rollout.images.values()) if match)
    return frozenset(found)
