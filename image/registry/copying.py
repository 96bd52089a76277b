"""All of one registry into another, by digest: nothing is stopped, and nothing half-done is ever seen.

The other registry takes a blob when it has the digest that was promised, a manifest when it has its parts, a tag
when it has the manifest. What was copied by a run that was cut off is found there by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from image.errors import UserError
from image.registry import upload
from image.registry.client import NoAnswerError, Registry
from image.registry.links import Links, Tag
from image.registry.manifest import Descriptor, Manifest
from image.registry.stock import Stock

_AT_ONCE = 4
_CHUNK = 1024**2


@dataclass(frozen=True)
class Copied:
    """How much had to be copied, and how much there is in all."""

    manifests: int
    of: int
    lost: tuple[str, ...] = ()
    """Tags whose manifest is gone: a removal was cut off."""

    def __str__(self) -> str:
        lost = f", without {', '.join(self.lost)}, which lead to nothing" if self.lost else ""
        return f"{self.manifests} of {self.of} manifests copied{lost}"


def copy(source: Registry, stock: Stock, target: Registry, there: Links) -> Copied:
    """Copy what the target lacks; of two images with one tag it has the one that was pushed last.

    Args:
        stock: what the source holds.
        there: what the target held before.

    Raises:
        UserError: either registry refuses something; or does not answer.
    """
    wanted = [(name, digest) for name, digests in sorted(stock.links.manifests.items()) for digest in sorted(digests)]
    lacking = [(name, digest) for name, digest in wanted if not upload.has(target, name, f"manifests/{digest}")]
    for name, digest in sorted(lacking, key=lambda one: _depth(stock, one[1])):
        _copy_manifest(source, target, name, stock.manifests[digest])
    for name, tag, digest in behind(stock.links, there):
        if stock.has(name, digest):
            manifest = stock.manifests[digest]
            upload.manifest(target, name, tag, _body(source, name, manifest), manifest.media_type)
    return Copied(len(lacking), len(wanted), lost(stock))


def behind(source: Links, target: Links) -> tuple[tuple[str, str, str], ...]:
    """Name, tag and digest of each tag that the target lacks, or has from an earlier push of something else."""
    tags = [(name, tag, found) for name, tags in sorted(source.tags.items()) for tag, found in sorted(tags.items())]
    return tuple((name, tag, found.digest) for name, tag, found in tags if _lacks(target, name, tag, found))


def _lacks(target: Links, name: str, tag: str, found: Tag) -> bool:
    there = target.tag(name, tag)
    if there is None or there.digest not in target.manifests.get(name, ()):
        return True
    return there.digest != found.digest and there.pushed < found.pushed


def lost(stock: Stock) -> tuple[str, ...]:
    """The tags that lead to nothing."""
    tags = [(name, tag, found.digest) for name, tags in sorted(stock.links.tags.items()) for tag, found in tags.items()]
    return tuple(f"{name}:{tag}" for name, tag, digest in tags if not stock.has(name, digest))


def _depth(stock: Stock, digest: str) -> int:
    """How many levels of manifests are below one: what is below goes first."""
    manifest = stock.manifests[digest]
    below = (child.digest for child in manifest.children if child.digest in stock.manifests)
    return max((1 + _depth(stock, child) for child in below), default=0)


def _copy_manifest(source: Registry, target: Registry, name: str, manifest: Manifest) -> None:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        list(pool.map(lambda blob: _copy_blob(source, target, name, blob), dict.fromkeys(manifest.blobs)))
    upload.manifest(target, name, manifest.digest, _body(source, name, manifest), manifest.media_type)


def _body(source: Registry, name: str, manifest: Manifest) -> bytes:
    body = source.manifest(name, manifest.digest)
    if body is None:
        raise UserError(f"{name}@{manifest.digest} is no longer in {source.address}", "the same command again")
    return body


def _copy_blob(source: Registry, target: Registry, name: str, blob: Descriptor) -> None:
    """Hand a blob through, piece by piece; the target takes it if its digest is right."""
    if upload.has(target, name, f"blobs/{blob.digest}"):
        return
    with source.ask("GET", f"/v2/{name}/blobs/{blob.digest}", stream=True) as read:
        if read.status_code != requests.codes.ok:
            raise UserError(f"{source.address}/{name}@{blob.digest} cannot be read: {read.status_code} {read.reason}")
        upload.blob(target, name, blob.digest, _pieces(source, read))


def _pieces(source: Registry, answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_CHUNK)
    except requests.RequestException as error:
        raise NoAnswerError(f"{source.address} stopped answering: {error}", "the same command again") from error
