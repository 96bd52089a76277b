"""All that the registry holds, as one value: manifests, what they consist of, and what belongs together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import docker
import requests

from image.cluster import Cluster
from image.errors import UserError
from image.registry import bootstrap, links
from image.registry.client import NoAnswerError, Registry
from image.registry.container import refuse_elsewhere
from image.registry.links import Links
from image.registry.manifest import Manifest
from image.registry.referrers import subject

_AT_ONCE = 8


@dataclass(frozen=True, order=True)
class Item:
    """Something that can be kept or removed on its own: a tag, or a manifest that nothing else leads to."""

    name: str
    tag: str
    """Empty where it has none."""
    digest: str
    pushed: float = 0
    """Seconds since 1970; 0 where it is not known."""

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}" if self.tag else f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Removal:
    """What to tell a registry so that items are gone, and nothing else."""

    untag: tuple[Item, ...]
    """Tags of what stays for another reason, and of what is not there."""
    delete: tuple[tuple[str, str], ...]
    """Names and digests of manifests: first what leads to others, so that no whole image lacks a part."""


@dataclass(frozen=True)
class Stock:
    """What a registry holds."""

    links: Links
    manifests: Mapping[str, Manifest]
    """By digest, those that can be read."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with those that cannot, by digest."""

    def has(self, name: str, digest: str) -> bool:
        """Whether an image of this name has the manifest."""
        return digest in self.links.manifests.get(name, ())

    def closure(self, name: str, digests: Iterable[str]) -> dict[str, None]:
        """These manifests of an image and all that they lead to, in this order; what is not there is left out."""
        found: dict[str, None] = {}
        todo = [digest for digest in digests if self.has(name, digest)]
        while todo:
            digest = todo.pop(0)
            if digest not in found:
                found[digest] = None
                todo += [child for child in self._children(digest) if self.has(name, child)]
        return found

    def with_referrers(self, name: str, digests: Iterable[str]) -> dict[str, None]:
        """The closure, and what says something of any of it, such as an SBOM."""
        found = self.closure(name, digests)
        while True:
            more = [one for one in self._referrers(name, found) if one not in found]
            if not more:
                return found
            found = self.closure(name, [*found, *more])

    def referrers(self, name: str, digest: str) -> tuple[Manifest, ...]:
        """What says something of a manifest."""
        said = (self.manifests.get(one) for one in self.links.manifests.get(name, ()))
        return tuple(one for one in said if one and one.subject == digest)

    def items(self) -> tuple[Item, ...]:
        """Everything that is kept or removed on its own, by name, the newest first.

        Not what says something of a manifest that is there: that goes where the manifest goes.
        """
        return tuple(item for name in sorted(self.links.manifests) for item in self._items(name))

    def removal(self, going: Collection[Item]) -> Removal:
        """How to remove items, and what only they lead to."""
        untag: list[Item] = []
        delete: list[tuple[str, str]] = []
        for name in sorted({item.name for item in going}):
            staying = [item.digest for item in self._items(name) if item not in going]
            kept = self.with_referrers(name, staying)
            ours = [item for item in sorted(going) if item.name == name]
            untag += [item for item in ours if item.tag and (item.digest in kept or not self.has(name, item.digest))]
            gone = self.with_referrers(name, (item.digest for item in ours if item.digest not in kept))
            delete += [(name, digest) for digest in gone if digest not in kept]
        return Removal(tuple(untag), tuple(delete))

    def bytes(self, manifests: Iterable[str]) -> int:
        """What manifests and their blobs take in the registry, each blob once."""
        return sum(self._parts(manifests).values())

    def frees(self, removal: Removal) -> int:
        """What a removal makes unused: the parts that nothing else consists of."""
        gone = set(removal.delete)
        here = {(name, digest) for name, digests in self.links.manifests.items() for digest in digests}
        kept = self._parts({digest for _, digest in here - gone})
        return sum(size for part, size in self._parts({digest for _, digest in gone}).items() if part not in kept)

    def _parts(self, manifests: Iterable[str]) -> dict[str, int]:
        """Digest and size of manifests and their blobs."""
        found: dict[str, int] = {}
        for digest in manifests:
            if manifest := self.manifests.get(digest):
                found[digest] = manifest.size
                found |= {blob.digest: blob.size for blob in manifest.blobs}
        return found

    def _children(self, digest: str) -> Iterator[str]:
        manifest = self.manifests.get(digest)
        yield from (child.digest for child in manifest.children) if manifest else ()

    def _referrers(self, name: str, digests: Collection[str]) -> Iterator[str]:
        """By the subject that a manifest names, or by the tag for registries that do not know subjects."""
        for digest in self.links.manifests.get(name, ()):
            manifest = self.manifests.get(digest)
            if manifest and manifest.subject in digests:
                yield digest
        for name_of_tag, tag in self.links.tags.get(name, {}).items():
            if subject(name_of_tag) in digests and self.has(name, tag.digest):
                yield tag.digest

    def _items(self, name: str) -> Iterator[Item]:
        here = self.links.manifests.get(name, {})
        tags = {tag: found for tag, found in self.links.tags.get(name, {}).items() if subject(tag) not in here}
        newest = sorted(tags, key=lambda tag: (-tags[tag].pushed, tag))
        yield from (Item(name, tag, tags[tag].digest, tags[tag].pushed) for tag in newest)
        parts = {child for digest in here for child in self._children(digest)}
        tagged = {tag.digest for tag in self.links.tags.get(name, {}).values()}
        for digest in sorted(here.keys() - parts - tagged):
            manifest = self.manifests.get(digest)
            if not (manifest and manifest.subject in here):
                yield Item(name, "", digest, here[digest])


def read(cluster: Cluster) -> Stock:
    """Ask the registry for all that it holds.

    Raises:
        UserError: the registry or its node's engine does not answer.
    """
    registry = Registry.of(cluster)
    try:
        with closing(cluster.engine(cluster.registry_node).client()) as client:
            container = bootstrap.find(client)
            if container is None:
                refuse_elsewhere(cluster, None)
                raise UserError(
                    f"{cluster.registry_node.name} has no registry yet",
                    f"{cluster.command} build-all, which starts it",
                )
            return of(registry, links.read(container))
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise UserError(*bootstrap.engine_failed(cluster, error)) from error


def of(registry: Registry, found: Links) -> Stock:
    """Read all manifests; raises UserError where the registry does not answer or refuses the password."""
    registry.check()
    where = {digest: name for name, digests in found.manifests.items() for digest in digests}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        read = pool.map(lambda digest: _manifest(registry, where[digest], digest), where)
        answers = dict(zip(where, read, strict=True))
    return Stock(
        found,
        {digest: answer for digest, answer in answers.items() if isinstance(answer, Manifest)},
        {digest: answer for digest, answer in answers.items() if isinstance(answer, str)},
    )


def _manifest(registry: Registry, name: str, digest: str) -> Manifest | str:
    """The manifest, or what is wrong with it."""
    where = f"{name}@{digest}"
    try:
        body = registry.manifest(name, digest)
        return Manifest.parse(body, where, digest) if body is not None else f"{where} is linked and not there"
    except NoAnswerError:
        raise
    except UserError as error:
        return error.message
