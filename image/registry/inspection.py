"""One image of the registry in full."""

from __future__ import annotations

import json
from typing import Any

from image.registry import listing
from image.registry.manifest import Descriptor, Manifest
from image.registry.stock import Item, Stock


def describe(stock: Stock, item: Item) -> dict[str, Any]:
    """The image as plain values: what JSON shows."""
    index = stock.manifests.get(item.digest)
    parts = stock.closure(item.name, [item.digest])
    children = [(child, stock.manifests.get(child.digest)) for child in index.children] if index else []
    single = [(Descriptor(index.digest, index.size, index.media_type), index)] if index and not children else []
    return {
        "image": item.name,
        "tag": item.tag,
        "digest": item.digest,
        "mediaType": index.media_type if index else "",
        "bytes": stock.bytes(stock.with_referrers(item.name, [item.digest])),
        "annotations": dict(index.annotations) if index else {},
        "manifests": [_manifest(child, manifest) for child, manifest in children or single],
        "referrers": [_referrer(digest, one) for digest in parts for one in stock.referrers(item.name, digest)],
        "damage": [stock.damaged[digest] for digest in parts if digest in stock.damaged],
    }


def _manifest(entry: Descriptor, manifest: Manifest | None) -> dict[str, Any]:
    return {
        "platform": entry.platform,
        "digest": entry.digest,
        "there": manifest is not None,
        "config": manifest.config.digest if manifest and manifest.config else "",
        "layers": [_blob(layer) for layer in manifest.layers] if manifest else [],
        "bytes": sum(blob.size for blob in manifest.blobs) + manifest.size if manifest else 0,
        "annotations": dict(manifest.annotations) if manifest else {},
    }


def _blob(blob: Descriptor) -> dict[str, Any]:
    return {"digest": blob.digest, "mediaType": blob.media_type, "bytes": blob.size}


def _referrer(subject: str, manifest: Manifest) -> dict[str, Any]:
    return {
        "subject": subject,
        "digest": manifest.digest,
        "artifactType": manifest.artifact_type,
        "layers": [_blob(layer) for layer in manifest.layers],
        "annotations": dict(manifest.annotations),
    }


def as_json(found: dict[str, Any]) -> str:
    """All of it."""
    return json.dumps(found, indent=2)


def lines(found: dict[str, Any]) -> list[str]:
    """For people."""
    said = [f"{found['image']}:{found['tag']}" if found["tag"] else found["image"], f"  digest  {found['digest']}"]
    said.append(f"  size    {listing.size(found['bytes'])}")
    said += [f"  {key}: {value}" for key, value in found["annotations"].items()]
    for one in found["manifests"]:
        there = listing.size(one["bytes"]) if one["there"] else "not in the registry"
        said += [
            "",
            f"{one['platform'] or 'manifest'}  {there}",
            f"  digest  {one['digest']}",
            f"  config  {one['config']}",
        ]
        said += [f"  layer   {layer['digest']}  {listing.size(layer['bytes'])}" for layer in one["layers"]]
        said += [f"  {key}: {value}" for key, value in one["annotations"].items()]
    for one in found["referrers"]:
        said += ["", f"{one['artifactType'] or 'referrer'} of {one['subject']}", f"  digest  {one['digest']}"]
        said += [f"  layer   {layer['digest']}  {listing.size(layer['bytes'])}" for layer in one["layers"]]
    return [*said, *(f"damaged: {damage}" for damage in found["damage"])]
