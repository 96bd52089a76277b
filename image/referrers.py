"""What is said of an image beside it in the registry; source: OCI distribution specification, referrers."""

from __future__ import annotations

import re

_FALLBACK = re.compile(r"([a-z0-9]+)-([0-9a-f]{64})")


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
