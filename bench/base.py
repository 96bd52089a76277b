"""An empty multi-platform image in a registry: ko puts a program onto a base, and knows no `scratch`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

from image.errors import UserError
from image.manifest import INDEX, MANIFEST
from image.platform import Platform
from image.registry import Registry

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
        _blob(registry, config)
        about = {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)}
        manifest = _text({"schemaVersion": 2, "mediaType": MANIFEST, "config": about, "layers": []})
        _manifest(registry, _digest(manifest), MANIFEST, manifest)
        entry = {"mediaType": MANIFEST, "digest": _digest(manifest), "size": len(manifest)}
        entries.append({**entry, "platform": _described(platform)})
    index = _text({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    _manifest(registry, "latest", INDEX, index)


def _described(platform: Platform) -> dict[str, str]:
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def _blob(registry: Registry, content: bytes) -> None:
    begun = registry.ask("POST", f"/v2/{NAME}/blobs/uploads/")
    where = begun.headers.get("Location", "")
    done = registry.ask("PUT", f"{where}&digest={_digest(content)}", data=content)
    if done.status_code != 201:
        raise UserError(f"{registry.address} does not take a blob: it answers {begun.status_code}, {done.status_code}")


def _manifest(registry: Registry, reference: str, kind: str, content: bytes) -> None:
    done = registry.ask("PUT", f"/v2/{NAME}/manifests/{reference}", {"Content-Type": kind}, content)
    if done.status_code != 201:
        raise UserError(f"{registry.address} does not take a manifest: it answers {done.status_code} {done.text}")


def _text(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
