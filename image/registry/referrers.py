"""What is said of an image beside it in the registry; source: OCI distribution specification, referrers.

A manifest with a `subject` refers to the subject's manifest. A registry with the referrers API lists it; for
one without, whoever pushes it lists it himself, in an index with a tag that is made of the subject's digest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from image.errors import UserError
from image.registry import upload
from image.registry.client import Registry
from image.registry.manifest import INDEX, MANIFEST, digest_of

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_FALLBACK = re.compile(r"([a-z0-9]+)-([0-9a-f]{64})")


@dataclass(frozen=True)
class Subject:
    """The manifest that something is said of, as the registry holds it."""

    digest: str
    size: int
    media_type: str = INDEX


def fallback_tag(digest: str) -> str:
    """The tag of the index that lists what refers to a manifest, for a registry without the referrers API.

    `sha256:0123…` gives `sha256-0123…`; each part is cut as the specification says.
    """
    algorithm, _, value = digest.partition(":")
    return f"{algorithm[:32]}-{value[:64]}"


def subject(tag: str) -> str | None:
    """The digest of the manifest whose referrers a tag lists; None for any other tag."""
    found = _FALLBACK.fullmatch(tag)
    return f"{found[1]}:{found[2]}" if found else None


def attach(registry: Registry, name: str, to: Subject, kind: str, content: bytes) -> str:
    """Say something of a manifest, in the place of what was said of that kind; the referrer's digest.

    Args:
        kind: the content's media type.

    Raises:
        UserError: the registry does not take it or does not answer.
    """
    for blob in (content, _EMPTY):
        if not upload.has(registry, name, f"blobs/{digest_of(blob)}"):
            upload.blob(registry, name, digest_of(blob), blob)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": _descriptor(_EMPTY_TYPE, _EMPTY),
            "layers": [_descriptor(kind, content)],
            "subject": {"mediaType": to.media_type, "digest": to.digest, "size": to.size},
        }
    )
    entry = {**_descriptor(MANIFEST, manifest), "artifactType": kind}
    answer = upload.manifest(registry, name, entry["digest"], manifest, MANIFEST)
    if "OCI-Subject" not in answer.headers:  # the registry has no referrers API
        others = [one for one in _listed(registry, name, to.digest) if one.get("artifactType") != kind]
        index = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]})
        upload.manifest(registry, name, fallback_tag(to.digest), index, INDEX)
    return str(entry["digest"])


def find(registry: Registry, name: str, digest: str, kind: str) -> bytes | None:
    """What of a kind is said of a manifest, or None.

    Raises:
        UserError: what the registry holds is damaged, or it does not answer.
    """
    for entry in _listed(registry, name, digest):
        if entry.get("artifactType") == kind:
            try:
                manifest = json.loads(_get(registry, name, "manifests", entry["digest"]))
                content = manifest["layers"][0]["digest"]
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise UserError(f"what refers to {name}@{digest} is not a manifest with a layer: {error!r}") from error
            return _get(registry, name, "blobs", content)
    return None


def _listed(registry: Registry, name: str, digest: str) -> list[dict[str, Any]]:
    """The descriptors of what refers to a manifest; the API knows, or else the tag. Raises UserError."""
    for place in (f"referrers/{digest}", f"manifests/{fallback_tag(digest)}"):
        answer = registry.ask("GET", f"/v2/{name}/{place}", {"Accept": INDEX})
        if answer.status_code == requests.codes.not_found:
            continue
        try:
            answer.raise_for_status()
            found: list[dict[str, Any]] = answer.json()["manifests"]
        except (requests.RequestException, KeyError, TypeError) as error:
            raise UserError(f"asking what refers to {name}@{digest}: {error!r}") from error
        return found
    return []


def _get(registry: Registry, name: str, what: str, digest: str) -> bytes:
    answer = registry.ask("GET", f"/v2/{name}/{what}/{digest}", {"Accept": f"{MANIFEST}, */*"})
    if answer.status_code != requests.codes.ok or digest_of(answer.content) != digest:
        raise UserError(f"{name}@{digest} is damaged or missing in the registry", "python -m image verify")
    return answer.content


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
