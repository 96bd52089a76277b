"""How many bytes an image is on the wire: what a node that has none of its layers pulls."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from image import cache
from image.builder.published import Published
from image.errors import UserError
from image.registry.client import Registry
from image.registry.manifest import Manifest


def measure(registry: Registry, images: Iterable[Published]) -> None:
    """Ask for each platform's manifest, all at once, and note its size; one that is known is not asked for again.

    Raises:
        UserError: the registry does not answer, or a manifest is not there or damaged.
    """
    wanted = [(image.name, digest) for image in images for digest in image.manifests.values()]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda one: _note(registry, *one), wanted))


def known(digest: str) -> int | None:
    """The bytes of a manifest's layers, as they were once noted: what a digest names does not change."""
    entry = cache.find("wire", digest)
    return int((entry / "bytes").read_text(encoding="ascii")) if entry else None


def size(manifest: bytes, where: str, digest: str) -> int:
    """The bytes of all layers, compressed; raises UserError where it is not the manifest of this digest."""
    return sum(layer.size for layer in Manifest.parse(manifest, where, digest).layers)


def _note(registry: Registry, name: str, digest: str) -> None:
    def make(folder: Path) -> None:
        where = f"{registry.address}/{name}@{digest}"
        found = registry.manifest(name, digest)
        if found is None:
            raise UserError(f"{where} is not there", "build-all again")
        (folder / "bytes").write_text(str(size(found, where, digest)), encoding="ascii")

    cache.ensure("wire", digest, make)
