"""What the swarm keeps secret: each value under a name of its own, so that the next deploy takes over from the last.

A secret NAME is stored as `shelf_NAME-<12 hex>`, and labelled, so that every controller finds its newest version. The
hex is a keyed hash of the value: the same value has the same name, and to who lacks the key it tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from image import columns
from image.cluster import Cluster
from image.engine import EngineError
from image.errors import UserError
from image.stack.rollout import STACK
from pki.folder import write_private

if TYPE_CHECKING:
    from docker import DockerClient

KEY = "secrets.key"
"""The key of the hash, in the cluster's folder."""

# Not docker's own label for what belongs to a stack: a secret outlives a `docker stack rm`.
_STACK_LABEL = "pishelf.stack"
_NAME_LABEL = "pishelf.secret"
_VERSION_LABEL = "pishelf.version"
# A name in a template, and with what is put around it at most 64 letters, which a swarm takes.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,44}", re.ASCII)
_STORED = re.compile(rf"{STACK}_({_NAME.pattern})-(?:missing|[0-9a-f]{{12}})", re.ASCII)
# Source: MaxSecretSize of swarmkit, api/validation/secrets.go.
_MOST = 500 * 1024
_CONFLICT = 409  # HTTP
_KEY_BYTES = 32
_PASSWORD_BYTES = 24


@dataclass(frozen=True)
class Version:
    """One value of a secret, as the swarm has it: not the value."""

    secret: str
    number: int
    name: str
    """In the swarm."""
    id: str = field(default="", compare=False)
    index: int = field(default=0, compare=False)
    """When the swarm last wrote it, in the swarm's own counting."""
    updated: str = field(default="", compare=False)
    """The same by the manager's clock, ISO 8601."""

    @classmethod
    def all(cls, entries: Iterable[Mapping[str, Any]]) -> tuple[Version, ...]:
        """Read the Engine API's GET /secrets: by name, and of each the newest last. What is not ours is left out."""
        found = []
        for attrs in entries:
            labels = attrs["Spec"].get("Labels") or {}
            secret, number = labels.get(_NAME_LABEL, ""), labels.get(_VERSION_LABEL, "")
            if labels.get(_STACK_LABEL) == STACK and _NAME.fullmatch(secret) and number.isdecimal():
                index, updated = attrs["Version"]["Index"], attrs["UpdatedAt"]
                found.append(cls(secret, int(number), attrs["Spec"]["Name"], attrs["ID"], index, updated))
        return tuple(sorted(found, key=lambda one: (one.secret, one.number, one.index)))

    @property
    def labels(self) -> dict[str, str]:
        """What finds it among the swarm's secrets."""
        return {_STACK_LABEL: STACK, _NAME_LABEL: self.secret, _VERSION_LABEL: str(self.number)}


class Names:
    """What a template knows as `secrets`: NAME -> its name in the swarm, also where the swarm does not have it yet."""

    def __init__(self, held: Mapping[str, str]) -> None:
        self._held = held

    def __getitem__(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise KeyError(name)
        return self._held.get(name, f"{STACK}_{name}-missing")


@dataclass(frozen=True)
class Stored:
    """What `store` did."""

    version: Version
    new: bool
    """Whether it was not the newest before."""
    services: tuple[str, ...]
    """Those that run with another version."""

    def sentence(self, command: str) -> str:
        """What was done, and what comes next.

        Args:
            command: how a person begins a command of ours for this swarm.
        """
        version = self.version
        what = (
            f"stored version {version.number} of {version.secret} as {version.name}"
            if self.new
            else f"nothing to do: {version.secret} has this very value, stored as {version.name}"
        )
        if self.services:
            have = f"{', '.join(self.services)} {'has' if len(self.services) == 1 else 'have'}"
            return f"{what}; {have} an older one until {command} deploy"
        return f"{what}; services that name it get it with {command} deploy" if self.new else what


def versions(cluster: Cluster) -> tuple[Version, ...]:
    """All that the swarm has, as `Version.all`; raises UserError."""
    return Version.all(_listed(cluster))


def newest(cluster: Cluster) -> dict[str, str]:
    """NAME -> the name in the swarm of its newest version; raises UserError."""
    return {one.secret: one.name for one in versions(cluster)}


def lacking(cluster: Cluster, wanted: Collection[str]) -> tuple[str, ...]:
    """Those of the names in the swarm that it does not have; raises UserError."""
    if not wanted:
        return ()
    return tuple(sorted({*wanted} - {attrs["Spec"]["Name"] for attrs in _listed(cluster)}))


def how_to_set(cluster: Cluster, names: Iterable[str]) -> str:
    """The commands that store what the swarm lacks."""
    commands = []
    for name in names:
        ours = _STORED.fullmatch(name)
        commands.append(
            f"{cluster.command} secret set {ours[1]}" if ours else f"{cluster.docker} secret create {name} -"
        )
    return "; ".join(commands)


def plain(names: Iterable[str]) -> str:
    """The names in the swarm as a person knows them."""
    matches = {name: _STORED.fullmatch(name) for name in names}
    return ", ".join(match[1] if match else name for name, match in matches.items())


def check_name(name: str) -> str:
    """The name, if it may be a secret's; raises UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a secret", "a-z first, then a-z, 0-9 and _, at most 45 in all: smtp_password"
        )
    return name


def generated() -> str:
    """A password of 192 random bits."""
    return randomness.token_urlsafe(_PASSWORD_BYTES)


def store(cluster: Cluster, name: str, value: bytes) -> Stored:
    """Store a value as the newest version of a secret; what runs keeps the one that it has until the next deploy.

    Raises:
        UserError: the value is empty or too long, or the swarm refuses it.
    """
    check_name(name)
    if not value:
        raise UserError(f"the value of {name} is empty, and nothing was stored", f"{cluster.command} secret rm {name}")
    if len(value) > _MOST:
        raise UserError(f"the value of {name} has {len(value)} bytes, and a swarm keeps {_MOST} at most")
    there = [one for one in versions(cluster) if one.secret == name]
    stored_as = name_of(name, value, _key(cluster.credentials))
    newest_there = there[-1] if there else None
    with cluster.manager() as client:
        if newest_there and newest_there.name == stored_as:
            version = newest_there
        else:
            version = Version(name, newest_there.number + 1 if newest_there else 1, stored_as)
            known = next((one for one in there if one.name == stored_as), None)
            _write(client, cluster, version, known, value)
        others = {one.name for one in there} - {version.name}
        return Stored(version, version is not newest_there, users(_services(client), others))


def name_of(name: str, value: bytes, key: bytes) -> str:
    """What a value is called in the swarm."""
    digest = hmac.new(key, name.encode() + b"\0" + value, hashlib.sha256)
    return f"{STACK}_{name}-{digest.hexdigest()[:12]}"


def remove(cluster: Cluster, name: str) -> tuple[Version, ...]:
    """Take all versions of a secret out of the swarm.

    Raises:
        UserError: there is none, or a service has it.
    """
    every = versions(cluster)
    there = tuple(one for one in every if one.secret == name)
    if not there:
        known = sorted({one.secret for one in every})
        near = get_close_matches(name, known, n=1)
        raise UserError(
            f"the swarm of {cluster.name} has no secret {name!r}",
            f"{near[0]!r}" if near else f"one of {', '.join(known)}" if known else f"{cluster.command} secret list",
        )
    with cluster.manager() as client:
        if using := users(_services(client), {one.name for one in there}):
            raise UserError(
                f"{', '.join(using)} {'has' if len(using) == 1 else 'have'} the secret {name}",
                "switch the service off in settings.toml, or take the secret out of stack/stack.yml.j2, and deploy; or "
                f"another value: {cluster.command} secret set {name}",
            )
        drop(client, there)
    return there


def drop(client: DockerClient, going: Iterable[Version]) -> None:
    """Remove versions; raises docker's errors where a service has one."""
    import docker  # takes longer than what a quick command does

    for one in going:
        with suppress(docker.errors.NotFound):  # another controller was here first
            client.api.remove_secret(one.id)


def unneeded(there: Collection[Version], used: Collection[str]) -> tuple[Version, ...]:
    """The versions that are neither used nor the newest of their secret.

    Args:
        there: as `Version.all`.
        used: names in the swarm.
    """
    last = {one.secret: one.name for one in there}
    return tuple(one for one in there if one.name not in used and one.name != last[one.secret])


def users(services: Iterable[Mapping[str, Any]], names: Collection[str]) -> tuple[str, ...]:
    """The services, from the Engine API's GET /services, that have a secret of one of these names in the swarm."""
    return tuple(sorted(attrs["Spec"]["Name"] for attrs in services if not used(attrs).isdisjoint(names)))


def used(service: Mapping[str, Any]) -> frozenset[str]:
    """The names in the swarm of a service's secrets."""
    container = service["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
    return frozenset(item["SecretName"] for item in container.get("Secrets") or ())


@dataclass(frozen=True)
class Row:
    """One secret, for people and programs."""

    name: str
    version: int
    """The newest one's number."""
    set: str
    """When that became the newest, by the manager's clock, ISO 8601."""
    stored_as: str
    services: tuple[str, ...]
    """Those that have the newest version."""
    behind: tuple[str, ...]
    """Those that have an older one, until the next deploy."""


def rows(cluster: Cluster) -> tuple[Row, ...]:
    """All secrets that were set; raises UserError."""
    there = versions(cluster)
    with cluster.manager() as client:
        services = _services(client)
    last = {one.secret: one for one in there}
    found = []
    for one in last.values():
        older = {each.name for each in there if each.secret == one.secret} - {one.name}
        now, behind = users(services, {one.name}), users(services, older)
        found.append(Row(one.secret, one.number, one.updated, one.name, now, behind))
    return tuple(found)


def lines(found: Collection[Row]) -> list[str]:
    """For people: a table."""
    if not found:
        return ["no secrets yet: python -m image secret set NAME"]
    table = [("NAME", "VERSION", "SET", "SERVICES")]
    for row in found:
        services = [*row.services, *(f"{name} (an older version, until deploy)" for name in row.behind)]
        table.append((row.name, str(row.version), f"{row.set[:16].replace('T', ' ')} UTC", ", ".join(services) or "-"))
    return columns.aligned(table)


def _listed(cluster: Cluster) -> Any:
    try:
        return cluster.endpoint.get("/secrets") or ()
    except EngineError as error:
        raise UserError(
            f"the manager of {cluster.name} does not say which secrets it has: {error}", f"{cluster.docker} secret ls"
        ) from error


def _services(client: DockerClient) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = client.api.services()  # type: ignore[no-untyped-call]
    return found


def _write(client: DockerClient, cluster: Cluster, version: Version, known: Version | None, value: bytes) -> None:
    """Make it, or the newest one again of one that there is."""
    import docker

    try:
        if known:
            _relabel(client, replace(version, id=known.id))
        else:
            client.api.create_secret(version.name, value, version.labels)
    except docker.errors.APIError as error:
        if error.status_code != _CONFLICT:
            raise
        raise UserError(
            f"somebody else has just set {version.secret}, or made a secret {version.name}",
            f"{cluster.command} secret list; then the same command again",
        ) from error


def _relabel(client: DockerClient, version: Version) -> None:
    """Docker's library has no call for it, the Engine API has."""
    api = client.api
    attrs = api.inspect_secret(version.id)
    url = f"{api.base_url}/v{api.api_version}/secrets/{quote(version.id)}/update"
    spec = {**attrs["Spec"], "Labels": version.labels}
    api.post(url, params={"version": attrs["Version"]["Index"]}, json=spec).raise_for_status()


def _key(folder: Path) -> bytes:
    """The cluster's key for the hash, made at the first call."""
    file = folder / KEY
    try:
        if not file.exists():
            write_private(file, randomness.token_bytes(_KEY_BYTES).hex().encode())
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise UserError(f"{file} cannot be read or made: {error.strerror}") from error
    if not re.fullmatch(rf"[0-9a-f]{{{2 * _KEY_BYTES}}}", text):
        raise UserError(
            f"{file} is damaged: it is not {2 * _KEY_BYTES} hex digits", f"rm {file}, which makes a new one"
        )
    return bytes.fromhex(text)
