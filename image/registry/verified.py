"""Whether the registry holds all of an image, as its index promises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from image.platform import described
from image.registry.client import Registry
from image.registry.manifest import ACCEPT, digest_of

# Configurations of images; an artifact's says nothing of a platform.
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Look:
    """One look at an image: where, how closely, and which blobs were looked at already (platforms share some)."""

    registry: Registry
    name: str
    deep: bool
    platforms: bool
    seen: set[str] = field(default_factory=set)

    def place(self, reference: str) -> str:
        """As people write it."""
        return f"{self.name}{'@' if ':' in reference else ':'}{reference}"


def verify(
    registry: Registry, name: str, reference: str, deep: bool = False, platforms: bool = False
) -> tuple[str, ...]:
    """What is wrong with an image in a registry, one sentence each; nothing if all is well.

    Manifests and configurations are read and hashed.

    Args:
        reference: a tag or a digest, of an index or of a single manifest.
        deep: read and hash every layer, too, piece by piece; without it its last byte is read, and its size.
        platforms: each platform's configuration must name it. What others made is as they made it, and many name
            no variant; their digests say whether it is whole.

    Raises:
        UserError: the registry refuses the password.
        NoAnswerError: it does not answer.
    """
    promised = {"digest": reference} if ":" in reference else {}
    return tuple(_manifest(_Look(registry, name, deep, platforms), reference, promised))


def _manifest(look: _Look, reference: str, promised: Mapping[str, Any]) -> Iterator[str]:
    """Look at an index or a manifest, and at all that it names.

    Args:
        promised: the descriptor that names it, or what is known of one.
    """
    where = look.place(reference)
    answer = look.registry.ask("GET", f"/v2/{look.name}/manifests/{reference}", {"Accept": ACCEPT})
    if answer.status_code != requests.codes.ok:
        yield f"{where}: {_missing(answer)}"
        return
    said = {"digest": answer.headers["Docker-Content-Digest"]} if "Docker-Content-Digest" in answer.headers else {}
    yield from _differs(where, answer.content, {**said, **promised})
    try:
        found = json.loads(answer.content)
        if "manifests" in found:
            for entry in found["manifests"]:
                yield from _manifest(look, entry["digest"], entry)
        else:
            yield from _config(look, where, found["config"], promised.get("platform"))
            for layer in found["layers"]:
                yield from _blob(look, where, layer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{where} is neither an index nor a manifest: {error!r}"


def _config(look: _Look, where: str, promised: Mapping[str, Any], platform: Mapping[str, str] | None) -> Iterator[str]:
    digest = promised["digest"]
    answer = look.registry.ask("GET", f"/v2/{look.name}/blobs/{digest}")
    if answer.status_code != requests.codes.ok:
        yield f"{where}: its configuration {digest}: {_missing(answer)}"
        return
    yield from _differs(f"{where}: its configuration {digest}", answer.content, promised)
    if look.platforms and platform and promised.get("mediaType") in _CONFIGS:
        said, is_for = described(platform), described(json.loads(answer.content))
        if said != is_for:
            yield f"{where}: the index says {said}, its configuration says {is_for}"


def _blob(look: _Look, where: str, promised: Mapping[str, Any]) -> Iterator[str]:
    digest = promised["digest"]
    if digest in look.seen:
        return
    look.seen.add(digest)
    what = f"{where}: its layer {digest}"
    # Its last byte, for HEAD is answered from the registry's memory, also of a file that is gone.
    headers = {} if look.deep else {"Range": "bytes=-1"}
    with look.registry.ask("GET", f"/v2/{look.name}/blobs/{digest}", headers, stream=True) as answer:
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            yield f"{what}: {_missing(answer)}"
            return
        try:
            size, found = _hashed(answer) if look.deep else (_size(answer), digest)
        except requests.RequestException:
            yield f"{what}: the registry begins to send it, and does not go on"
            return
    if size != promised["size"]:
        yield f"{what} has {size} bytes, not {promised['size']}"
    elif found != digest:
        yield f"{what} is damaged: it is {found}"


def _hashed(answer: requests.Response) -> tuple[int, str]:
    """Size and digest of an answer, as it comes: a layer may be larger than the memory."""
    size, digest = 0, hashlib.sha256()
    for piece in answer.iter_content(_PIECE):
        size += len(piece)
        digest.update(piece)
    return size, f"sha256:{digest.hexdigest()}"


def _size(answer: requests.Response) -> int:
    """The size of what an answer has a part of, or all; a byte of it is read."""
    next(answer.iter_content(1), b"")
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    return int(whole) if whole.isdecimal() else -1


def _differs(where: str, content: bytes, promised: Mapping[str, Any]) -> Iterator[str]:
    found = digest_of(content)
    if len(content) != promised.get("size", len(content)):
        yield f"{where} has {len(content)} bytes, not {promised['size']}"
    elif found != promised.get("digest", found):
        yield f"{where} is damaged: it is {found}"


def _missing(answer: requests.Response) -> str:
    if answer.status_code == requests.codes.not_found:
        return "is missing"
    return f"the registry answers {answer.status_code} {answer.reason}"
