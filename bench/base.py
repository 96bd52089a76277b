"""An empty multi-platform image in a registry: ko puts a program onto a base, and knows no `scratch`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from image.platform import Platform
from image.registry import upload
from image.registry.client import Registry
from image.registry.manifest import INDEX, MANIFEST, digest_of

NAME: Final = "empty"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"


def push(registry: Registry, platforms: Iterable[Platform]) -> None:
    """Push an index with an image without layers for each platform; source: OCI distribution specification.

    Raises:
        UserError: the registry does not take it.
    """
    entries = []
    for platform in platforms:
        config = _text({**_described(platform), "config": {}, "rootfs": {"type": "layers", "diff_ids": []}})
        upload.blob(registry, NAME, digest_of(config), config)
        about = {"mediaType": _CONFIG, "digest": digest_of(config), "size": len(config)}
        manifest = _text({"schemaVersion": 2, "mediaType": MANIFEST, "config": about, "layers": []})
        upload.manifest(registry, NAME, digest_of(manifest), manifest, MANIFEST)
        entry = {"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
        entries.append({**entry, "platform": _described(platform)})
    index = _text({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    upload.manifest(registry, NAME, "latest", index, INDEX)


def _described(platform: Platform) -> dict[str, str]:
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
