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
from image.manifest import ACCEPT, Descriptor, Manifest
from image.referrers import put_manifest
from image.registry import NoAnswerError, Registry
from image.stock import Stock

_AT_ONCE = 4
_CHUNK = 1024**2


@dataclass(frozen=True)
class Copied:
    """How much had to be copied, and how much there is in all."""

    manifests: int
    of: int

    def __str__(self) -> str:
        return f"{self.manifests} of {self.of} manifests copied"


def copy(source: Registry, stock: Stock, target: Registry) -> Copied:
    """Copy what the target lacks; a tag that it has stays as it is, for it was pushed there since.

    Args:
        stock: what the source holds.

    Raises:
        UserError: either registry refuses something; or does not answer.
    """
    wanted = [(name, digest) for name, digests in sorted(stock.links.manifests.items()) for digest in sorted(digests)]
    lacking = [(name, digest) for name, digest in wanted if not _has(target, name, f"manifests/{digest}")]
    for name, digest in sorted(lacking, key=lambda one: _depth(stock, one[1])):
        _copy_manifest(source, target, name, stock.manifests[digest])
    for name, tags in sorted(stock.links.tags.items()):
        for tag, found in sorted(tags.items()):
            if not _has(target, name, f"manifests/{tag}"):
                manifest = stock.manifests[found.digest]
                put_manifest(target, name, tag, _body(source, name, manifest), manifest.media_type)
    return Copied(len(lacking), len(wanted))


def _depth(stock: Stock, digest: str) -> int:
    """How many levels of manifests are below one: what is below goes first."""
    manifest = stock.manifests[digest]
    below = (child.digest for child in manifest.children if child.digest in stock.manifests)
    return max((1 + _depth(stock, child) for child in below), default=0)


def _copy_manifest(source: Registry, target: Registry, name: str, manifest: Manifest) -> None:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        list(pool.map(lambda blob: _copy_blob(source, target, name, blob), dict.fromkeys(manifest.blobs)))
    put_manifest(target, name, manifest.digest, _body(source, name, manifest), manifest.media_type)


def _body(source: Registry, name: str, manifest: Manifest) -> bytes:
    body = source.manifest(name, manifest.digest)
    if body is None:
        raise UserError(f"{name}@{manifest.digest} is no longer in {source.address}", "the same command again")
    return body


def _copy_blob(source: Registry, target: Registry, name: str, blob: Descriptor) -> None:
    """Hand a blob through, piece by piece; the target takes it if its digest is right."""
    if _has(target, name, f"blobs/{blob.digest}"):
        return
    begun = target.ask("POST", f"/v2/{name}/blobs/uploads/")
    if begun.status_code != requests.codes.accepted:
        raise UserError(f"{target.address} takes no blob of {name}: {begun.status_code} {begun.text[:200]}")
    with source.ask("GET", f"/v2/{name}/blobs/{blob.digest}", stream=True) as read:
        if read.status_code != requests.codes.ok:
            raise UserError(f"{source.address}/{name}@{blob.digest} cannot be read: {read.status_code} {read.reason}")
        place = begun.headers["Location"]
        where = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        put = target.ask("PUT", where, {"Content-Type": "application/octet-stream"}, _pieces(source, read))
    if put.status_code != requests.codes.created:
        raise UserError(
            f"{name}@{blob.digest} of {source.address} is damaged: {target.address} answers {put.status_code}"
            f" {put.text[:200]}",
            "python -m image verify",
        )


def _pieces(source: Registry, answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_CHUNK)
    except requests.RequestException as error:
        raise NoAnswerError(f"{source.address} stopped answering: {error}", "the same command again") from error


def _has(registry: Registry, name: str, what: str) -> bool:
    return registry.ask("HEAD", f"/v2/{name}/{what}", {"Accept": ACCEPT}).ok
