"""Where an image is, as a person writes it; source: the grammar of github.com/distribution/reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from image.errors import UserError

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_NAME = 255

_HUB = "docker.io"
_HUB_BEFORE = "index.docker.io"
_OFFICIAL = "library/"


@dataclass(frozen=True)
class Reference:
    """An image's address in full, with what a person may leave out: `docker.io/library/redis:latest`."""

    domain: str
    """The registry, `host[:port]`."""
    path: str
    tag: str
    """Empty only where there is a digest."""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `[DOMAIN/]PATH[:TAG][@DIGEST]`, as `docker pull` would; raises UserError."""
        rest, at, digest = text.partition("@")
        if at and not DIGEST.fullmatch(digest):
            raise _unfit(text, f"its digest {digest!r} is not sha256: and 64 hexadecimal digits")
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:  # the colon was a port's
            name, colon, tag = rest, "", ""
        if colon and not _TAG.fullmatch(tag):
            raise _unfit(text, f"its tag {tag!r} is not up to 128 letters, digits and . _ -")
        domain, path = _split(name)
        if not _DOMAIN.fullmatch(domain):
            raise _unfit(text, f"its registry {domain!r} is not a host, or host:port")
        if not _PATH.fullmatch(path) or len(name) > _LONGEST_NAME:
            raise _unfit(text, f"its name {path!r} is not lower-case words, joined by . _ - and /")
        return cls(domain, path, tag if colon or at else "latest", digest)

    @property
    def repository(self) -> str:
        """Without tag and digest."""
        return f"{self.domain}/{self.path}"

    def at(self, digest: str) -> str:
        """The repository's content of this digest, whatever its tag says by now."""
        return f"{self.repository}@{digest}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def shortened(reference: str) -> str:
    """What says most of a long one: `name@sha256:0123456789ab`."""
    name, at, digest = reference.rpartition("/")[2].partition("@")
    return f"{name}{at}{digest[:19]}"


def _split(name: str) -> tuple[str, str]:
    """Registry and path. What looks like no host, `grafana/grafana`, is a path on Docker Hub."""
    first, slash, rest = name.partition("/")
    is_host = any(character in first for character in ".:") or first == "localhost" or first != first.lower()
    domain, path = (first, rest) if slash and is_host else (_HUB, name)
    if domain == _HUB_BEFORE:
        domain = _HUB
    if domain == _HUB and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _unfit(text: str, why: str) -> UserError:
    return UserError(
        f"{text!r} is no image's reference: {why}", "[REGISTRY/]NAME:TAG, e.g. docker.io/grafana/grafana:12.3.0"
    )
