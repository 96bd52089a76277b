"""Images of others -> the cluster's own registry, by digest, index and all.

Each platform's image is copied for itself and the index is put last: a copy that was cut off leaves no
index behind, and the next run finds most of the work done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from image.cluster import Cluster
from image.errors import UserError, raise_all
from image.platform import described, taken
from image.progress import Progress, step
from image.registry import lock, mirrors, skopeo, upload
from image.registry.client import Registry
from image.registry.manifest import INDEX, MANIFEST, digest_of
from image.registry.mirrors import ALL, Mirror
from image.registry.reference import Reference
from image.registry.skopeo import Access, Skopeo
from image.registry.verified import verify

# Images of the stack's services that are mirrored: the service's switch is in the settings.
_OF_SERVICES = {"grafana": ("grafana",), "portainer": ("portainer", "portainer_agent")}
# BuildKit's provenance and SBOM are entries of an index, too, each of which names the image that it is about.
_ABOUT = "vnd.docker.reference.digest"


@dataclass(frozen=True)
class Child:
    """One entry of an index."""

    platform: str
    """`os/architecture[/variant]`, whatever upstream builds for; empty where it says none."""
    digest: str
    about: str
    """The digest of the image that this one tells of; empty for an image."""
    entry: Mapping[str, Any]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Child:
        """Read one entry; raises KeyError and the like where it is none."""
        about = (entry.get("annotations") or {}).get(_ABOUT, "")
        return cls(described(entry.get("platform") or {}), entry["digest"], about, entry)


@dataclass(frozen=True)
class Upstream:
    """What a source's tag or digest means at its registry."""

    digest: str
    index: bytes
    """Upstream's own, or one of ours around its only image."""

    @property
    def children(self) -> tuple[Child, ...]:
        """The index's entries."""
        return tuple(Child.of(entry) for entry in json.loads(self.index)["manifests"])

    def only(self, platforms: Collection[str]) -> bytes:
        """An index of these platforms' images alone, and of what tells of them; the same wherever it is made."""
        if ALL in platforms:
            return self.index
        images = {child.digest for child in self.children if child.platform in platforms and not child.about}
        entries = [dict(child.entry) for child in self.children if {child.digest, child.about} & images]
        return _json({**json.loads(self.index), "manifests": entries})


@dataclass(frozen=True)
class Job:
    """A mirror as it is to be, and what has to be copied for it."""

    mirror: Mirror
    upstream: Upstream
    there: bool
    """The registry has it already: nothing is to be copied."""
    told: str
    """What a person should know of it: what changed upstream, and what it lacks."""

    @property
    def index(self) -> bytes:
        """What the cluster's registry is to hold."""
        return self.upstream.only(self.mirror.platforms)

    @property
    def children(self) -> tuple[Child, ...]:
        """The entries of that index."""
        return Upstream("", self.index).children


@dataclass(frozen=True)
class Mirrored:
    """A mirror that the cluster's registry has."""

    name: str
    source: str
    reference: str
    """By digest, in the cluster's registry."""
    digest: str
    """What the source's tag meant at its own registry."""
    copied: bool
    """Whether it was not there before."""
    told: str = ""

    def __str__(self) -> str:
        return f"{self.name}  {self.reference}" + (f"  ({self.told})" if self.told else "")


def mirror(
    cluster: Cluster,
    wanted: Iterable[Mirror],
    access: Access,
    shown: Callable[[int], AbstractContextManager[Progress]],
    file: Path = mirrors.FILE,
    *,
    every: bool | None = None,
    update: bool = False,
) -> tuple[Mirrored, ...]:
    """See to it that the cluster's registry has the mirrors, and that the file says so.

    Args:
        wanted: as `chosen` gives them.
        shown: shows the progress of so many pieces of work.
        every: True: all platforms; False: the swarm's; None: as recorded.
        update: take what a tag means now, not what was recorded.

    Raises:
        UserError: some could not be mirrored; the others were, and are recorded.
    """
    registry, wanted = Registry.of(cluster), tuple(wanted)
    absent = wanted if update else missing(registry, wanted)
    there = [one for one in wanted if one not in absent]
    jobs: tuple[Job, ...] = ()
    failed: tuple[BaseException, ...] = ()
    if absent:
        with skopeo.ready(registry, access) as tool:
            jobs, failed = plan(tool, cluster, absent, every, update)
            there += [job.mirror for job in jobs if job.there]
            todo = [job for job in jobs if not job.there]
            if todo:
                # Until its index is there, gc would take an image of it for garbage.
                pieces = sum(len(job.children) + 1 for job in todo)
                with shown(pieces) as progress, lock.alone(cluster, progress):
                    failed += _copy_all(tool, todo, file, progress)
    for one in there:
        mirrors.record(one, file)
    raise_all(failed)
    planned = {job.mirror.name: job for job in jobs}
    now = [planned[one.name].mirror if one.name in planned else one for one in wanted]
    return tuple(_mirrored(one, planned.get(one.name), registry.address) for one in now)


def _mirrored(mirror: Mirror, job: Job | None, registry: str) -> Mirrored:
    copied, told = (not job.there, job.told) if job else (False, "")
    return Mirrored(mirror.name, str(mirror.source), mirror.reference(registry), mirror.digest, copied, told)


def references(cluster: Cluster, services: Iterable[str] = (), file: Path = mirrors.FILE) -> dict[str, str]:
    """The enabled mirrors' references by digest, by name, for the stack's template.

    Args:
        services: those that are switched on.

    Raises:
        UserError: one that such a service needs is not enabled, or the registry lacks one; with the command that
            mirrors it.
    """
    enabled = chosen(mirrors.read(file))
    for service in services:
        needed = _OF_SERVICES.get(service, ())
        if lacking := set(needed) - {mirror.name for mirror in enabled}:
            verb = "was" if len(lacking) == 1 else "were"
            raise UserError(
                f"service {service} is on in settings.toml, and {' and '.join(sorted(lacking))} {verb} never mirrored",
                f"{cluster.command} mirror {' '.join(needed)}; or {service} = false",
            )
    if not enabled:
        return {}
    for mirror in missing(Registry.of(cluster), enabled):
        raise UserError(
            f"mirror {mirror} is enabled in {file.name}, and not in the registry at {cluster.registry}",
            f"{cluster.command} mirror {mirror.name}; or enabled = false",
        )
    return {mirror.name: mirror.reference(cluster.registry) for mirror in enabled}


def chosen(
    recorded: Mapping[str, Mirror], words: Iterable[str] = (), name: str = "", every: bool | None = None
) -> tuple[Mirror, ...]:
    """What a person asks for: names of the file or references, or without any all that is enabled.

    Args:
        name: under which a reference is recorded; by default after its repository.
        every: True: all platforms; False: the swarm's; None: as recorded.

    Raises:
        UserError: a word is neither, or two of them would be recorded under one name.
    """
    words = tuple(words)
    if name and len(words) != 1:
        raise UserError(f"--name {name} belongs to one reference, and there are {len(words)}")
    found = [_chosen(recorded, word, name) for word in words]
    wanted = found if words else [mirror for mirror in recorded.values() if mirror.enabled]
    if every is not None:
        # Which index that makes is seen only when upstream has told what there is.
        wanted = [replace(mirror, platforms=(ALL,) if every else mirror.platforms, index="") for mirror in wanted]
    by_name = {mirror.name: mirror for mirror in wanted}
    for mirror in wanted:
        if mirror != (other := by_name[mirror.name]):
            raise UserError(
                f"{mirror.source} and {other.source} would both be recorded as {mirror.name}",
                f"one after the other, the second with --name ANOTHER {other.source}",
            )
    return tuple(by_name.values())


def _chosen(recorded: Mapping[str, Mirror], word: str, name: str) -> Mirror:
    if word in recorded and not name:
        return replace(recorded[word], enabled=True)
    source = Reference.parse(word)
    same = [mirror.name for mirror in recorded.values() if mirror.source.repository == source.repository]
    own = name or (same[0] if same else source.path.rpartition("/")[2].replace("-", "_").replace(".", "_"))
    mirrors.check_name(own)
    before = recorded.get(own, Mirror(own, source))
    if not name and before.source.repository != source.repository:
        raise UserError(f"{own} is recorded already, as a mirror of {before.source}", f"--name ANOTHER {word}")
    if before.source == source:
        return replace(before, enabled=True)
    return replace(before, enabled=True, source=source, digest="", index="")


def missing(registry: Registry, wanted: Iterable[Mirror]) -> tuple[Mirror, ...]:
    """Those of the mirrors that the registry has not, as they are recorded; one question each, all at once."""
    wanted = tuple(wanted)
    with ThreadPoolExecutor(max_workers=8) as pool:
        there = pool.map(lambda mirror: _has(registry, mirror), wanted)
        return tuple(mirror for mirror, found in zip(wanted, there, strict=True) if not found)


def _has(registry: Registry, mirror: Mirror) -> bool:
    if not mirror.index:
        return False
    found = registry.index(mirror.repository, mirror.tag)
    return found is not None and found.digest == mirror.index


def plan(
    tool: Skopeo, cluster: Cluster, wanted: Iterable[Mirror], every: bool | None, update: bool
) -> tuple[tuple[Job, ...], tuple[BaseException, ...]]:
    """Ask upstream what each mirror is, all at once; and why some cannot be had, or are for no node."""

    def job(mirror: Mirror) -> Job:
        upstream = look(tool, mirror.source, "" if update else mirror.digest)
        named = _platforms(upstream.children)
        takes = {str(platform): taken(platform, named) for platform in cluster.platforms}
        if not any(takes.values()):
            nodes = " and ".join(takes)
            raise UserError(f"{mirror.source} is for {', '.join(named)}, and the swarm's nodes run {nodes}")
        platforms = tuple(sorted(set(filter(None, takes.values())))) if every is False else mirror.platforms
        if lacking := sorted(set(platforms) - {ALL, *named}):
            raise UserError(
                f"{mirror.source} has no {' and no '.join(lacking)}, which is recorded for {mirror.name}",
                f"mirror --swarm-only {mirror.name}, or --all-platforms",
            )
        index = digest_of(upstream.only(platforms))
        now = replace(mirror, platforms=platforms, digest=upstream.digest, index=index)
        none = [platform for platform, found in takes.items() if not found]
        return Job(now, upstream, _has(tool.registry, now), "; ".join(_news(mirror, now, none)))

    with ThreadPoolExecutor(max_workers=4) as pool:
        asked = [pool.submit(job, mirror) for mirror in wanted]
    failed = tuple(error for one in asked if (error := one.exception()))
    return tuple(one.result() for one in asked if not one.exception()), failed


def _news(before: Mirror, now: Mirror, none: list[str]) -> list[str]:
    """What a person should know: what changed upstream, and which nodes cannot run it."""
    changed = before.digest and before.digest != now.digest
    return [
        *([f"{now.source} was {before.digest} and is {now.digest}"] if changed else []),
        *([f"nothing for {' and '.join(none)}, which nodes run"] if none else []),
    ]


def look(tool: Skopeo, source: Reference, digest: str = "") -> Upstream:
    """Ask a registry what a source is: its tag, or `digest`.

    Raises:
        UserError: it is not there, or neither an index nor an image.
    """
    body = tool.manifest(source, digest).encode()
    found, expected = digest_of(body), digest or source.digest
    if expected and found != expected:
        raise UserError(f"{source.domain} gave {found} for {source.at(expected)}", "the same command again")
    try:
        manifest = json.loads(body)
        if "manifests" in manifest:
            upstream = Upstream(found, body)
            _ = upstream.children
            return upstream
        if "config" in manifest and "layers" in manifest:
            return Upstream(found, _index_around(manifest, found, len(body), json.loads(tool.config(source, found))))
        kind = manifest.get("mediaType", f"schema version {manifest.get('schemaVersion')}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{source} cannot be read: {error!r}") from error
    raise UserError(f"{source} is neither a multi-platform index nor an image: {kind}")


def _index_around(manifest: Mapping[str, Any], digest: str, size: int, config: Mapping[str, str]) -> bytes:
    """An index of one image, with the platform that the image's own configuration names."""
    platform = {key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}
    entry = {"mediaType": manifest.get("mediaType", MANIFEST), "digest": digest, "size": size, "platform": platform}
    return _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})


def _copy_all(tool: Skopeo, jobs: Iterable[Job], file: Path, progress: Progress) -> tuple[UserError, ...]:
    """Copy, verify and record each; why some could not be."""
    failed = []
    for job in jobs:
        try:
            _copy(tool, job, progress)
            mirrors.record(job.mirror, file)
        except UserError as error:
            failed.append(error)
    return tuple(failed)


def _copy(tool: Skopeo, job: Job, progress: Progress) -> None:
    mirror = job.mirror
    for number, child in enumerate(job.children, start=1):
        what = child.platform or "attestation"
        with step(progress, f"{mirror.name} {what} ({number} of {len(job.children)})"):
            tool.copy(mirror.source, child.digest, mirror.repository)
    with step(progress, f"{mirror.name}: verify all of it, and put its index"):
        looks = (verify(tool.registry, mirror.repository, child.digest) for child in job.children)
        if wrong := [sentence for sentences in looks for sentence in sentences]:
            raise UserError("\n  ".join(("the registry does not hold what was copied:", *wrong)), "mirror it again")
        _put(tool.registry, mirror, job.index)


def _put(registry: Registry, mirror: Mirror, index: bytes) -> None:
    """Give the index its tag, which makes the mirror one; raises UserError unless the registry has it then."""
    upload.manifest(registry, mirror.repository, mirror.tag, index, json.loads(index).get("mediaType", INDEX))
    if not _has(registry, mirror):
        raise UserError(f"the registry at {registry.address} has not the index of {mirror} that it took")


def _platforms(children: Iterable[Child]) -> tuple[str, ...]:
    """What an index has images for, sorted, each once."""
    return tuple(sorted({child.platform for child in children if child.platform and not child.about}))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
