"""Blobs and manifests into a registry; source: OCI distribution specification."""

from __future__ import annotations

from collections.abc import Iterable

import requests

from image.errors import UserError
from image.registry.client import Registry
from image.registry.manifest import ACCEPT


def has(registry: Registry, name: str, what: str) -> bool:
    """Whether it has `blobs/DIGEST` or `manifests/REFERENCE`."""
    return registry.ask("HEAD", f"/v2/{name}/{what}", {"Accept": ACCEPT}).ok


def blob(registry: Registry, name: str, digest: str, content: bytes | Iterable[bytes]) -> None:
    """Write a blob, which the registry takes if its digest is right; raises UserError."""
    answer = registry.ask("POST", f"/v2/{name}/blobs/uploads/")
    if answer.status_code == requests.codes.accepted:
        place = answer.headers["Location"]
        where = f"{place}{'&' if '?' in place else '?'}digest={digest}"
        answer = registry.ask("PUT", where, {"Content-Type": "application/octet-stream"}, content)
    if answer.status_code != requests.codes.created:
        raise UserError(
            f"{registry.address} does not take {name}@{digest}: {answer.status_code} {answer.text[:200].strip()}",
            "python -m image verify where it comes from, and df -h where it goes",
        )


def manifest(registry: Registry, name: str, reference: str, content: bytes, kind: str) -> requests.Response:
    """Write a manifest or an index under a tag or its digest; raises UserError.

    Args:
        kind: its media type.
    """
    answer = registry.ask("PUT", f"/v2/{name}/manifests/{reference}", {"Content-Type": kind}, content)
    if answer.status_code != requests.codes.created:
        said = f"{answer.status_code} {answer.text[:200].strip()}"
        raise UserError(f"{registry.address} does not take {name}:{reference}: {said}")
    return answer
