"""Manifests and indexes, as a registry holds them; source: OCI image specification, Docker's schema 2."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from image.errors import UserError
from image.platform import described

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPT_INDEX = f"{INDEX}, {_LIST}"
# All kinds: what a registry is not told to be welcome, it may convert.
ACCEPT = f"{ACCEPT_INDEX}, {MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"


def digest_of(content: bytes) -> str:
    """What a registry names these bytes by."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Descriptor:
    """What a manifest says of a part of it: a blob, or in an index another manifest."""

    digest: str
    size: int
    media_type: str = ""
    platform: str = ""
    """Of an index' manifest, as `linux/arm/v7`; empty where it gives none."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Read one; raises KeyError, TypeError, ValueError or AttributeError where it is none."""
        named = described(found.get("platform") or {})
        return cls(str(found["digest"]), int(found["size"]), str(found.get("mediaType", "")), named)


@dataclass(frozen=True)
class Manifest:
    """An index (it has children) or a manifest (it has a configuration and layers)."""

    digest: str
    size: int
    """Of the manifest itself, in bytes."""
    media_type: str
    """As it says itself; where it does not, for OCI lets it, the one that its form has."""
    children: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    """The digest of the manifest that this one says something of, e.g. what an SBOM is of."""
    artifact_type: str = ""

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Its configuration and its layers."""
        return (*([self.config] if self.config else ()), *self.layers)

    @classmethod
    def parse(cls, body: bytes, where: str, digest: str = "") -> Self:
        """Read a manifest.

        Args:
            where: what it is of, for people.
            digest: what it should be; without one it is what it is.

        Raises:
            UserError: it is no manifest, or not the one of this digest.
        """
        actual = digest_of(body)
        if digest.startswith("sha256:") and actual != digest:
            raise UserError(f"{where} is damaged: it should be {digest} and is {actual}")
        try:
            found: dict[str, Any] = json.loads(body)
            config = found.get("config")
            return cls(
                digest=digest or actual,
                size=len(body),
                media_type=str(found.get("mediaType") or (INDEX if "manifests" in found else MANIFEST)),
                children=tuple(map(Descriptor.of, found.get("manifests") or ())),
                config=Descriptor.of(config) if config else None,
                layers=tuple(map(Descriptor.of, found.get("layers") or ())),
                annotations={str(key): str(value) for key, value in (found.get("annotations") or {}).items()},
                subject=str((found.get("subject") or {}).get("digest", "")),
                artifact_type=str(found.get("artifactType") or (config or {}).get("mediaType", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{where} is damaged: it is no manifest: {error!r}") from error
