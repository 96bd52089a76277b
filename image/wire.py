"""How many bytes an image is on the wire: what a node that has none of its layers pulls."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from image import cache
from image.errors import UserError
from image.published import Published
from image.registry import Registry

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def measure(registry: Registry, images: Iterable[Published]) -> None:
    """Ask for each platform's manifest, all at once, and note its size; one that is known is not asked for again.

    Raises:
        UserError: the registry does not answer, or a manifest is not there.
    """
    wanted = [(image.name, digest) for image in images for digest in image.manifests.values()]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda one: _note(registry, *one), wanted))


def known(digest: str) -> int | None:
    """The bytes of a manifest's layers, as they were once noted: what a digest names does not change."""
    entry = cache.find("wire", digest)
    return int((entry / "bytes").read_text(encoding="ascii")) if entry else None


def size(manifest: bytes, where: str) -> int:
    """The bytes of all layers, compressed; source: OCI image manifest specification. Raises UserError."""
    try:
        return sum(int(layer["size"]) for layer in json.loads(manifest)["layers"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where} is not an image's manifest: {error!r}") from error


def _note(registry: Registry, name: str, digest: str) -> None:
    def make(folder: Path) -> None:
        where = f"{registry.address}/{name}@{digest}"
        answer = registry.ask("GET", f"/v2/{name}/manifests/{digest}", {"Accept": _MANIFEST})
        if answer.status_code != requests.codes.ok:
            raise UserError(f"asking for {where}: {answer.status_code}", "build-all again")
        (folder / "bytes").write_text(str(size(answer.content, where)), encoding="ascii")

    cache.ensure("wire", digest, make)
