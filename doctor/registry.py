"""What the cluster's registry has, asked from this computer; source: OCI distribution specification."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from pki.credentials import Login

_MANIFESTS = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
# The tag of what refers to an image, as its SBOM does; source: the same, "Referrers Tag Schema".
_NO_IMAGE = re.compile(r"sha256-[0-9a-f]{64}")
_TIMEOUT = 10  # seconds
_REPOSITORIES = 8  # more are not looked at: any small image will do


@dataclass(frozen=True)
class Image:
    """An image by its digest."""

    reference: str
    size: int
    """Of one platform's layers, in bytes."""


@dataclass(frozen=True)
class Stock:
    """What a registry was found to have."""

    image: Image | None
    """Its smallest; None where it has none."""
    trouble: str = ""
    """Why it did not answer, in a sentence."""


@dataclass(frozen=True)
class Registry:
    """A registry at `host:port`, and how to ask it."""

    address: str
    login: Login
    ca: Path

    def stock(self) -> Stock:
        """The smallest of its images."""
        try:
            return Stock(min(self._images(), key=lambda image: image.size, default=None))
        except requests.exceptions.SSLError as error:
            return Stock(None, f"its certificate is not trusted: {_reason(error)}")
        except requests.RequestException as error:
            return Stock(None, _reason(error))
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            return Stock(None, f"it answers what no registry answers: {error!r}")

    def _images(self) -> Iterator[Image]:
        repositories = self._get("/v2/_catalog").json()["repositories"] or []
        for repository in repositories[:_REPOSITORIES]:
            tags = [tag for tag in self._tags(repository) if not _NO_IMAGE.fullmatch(tag)]
            if tags:
                found = self._get(f"/v2/{repository}/manifests/{tags[0]}")
                digest = found.headers["Docker-Content-Digest"]
                yield Image(f"{self.address}/{repository}@{digest}", self._size(repository, found.json()))

    def _tags(self, repository: str) -> list[str]:
        """A repository's tags; one that never had any, as after a push that was cut off, is not known by name."""
        try:
            named: list[str] | None = self._get(f"/v2/{repository}/tags/list").json()["tags"]
        except requests.HTTPError as error:
            if error.response.status_code == requests.codes.not_found:
                return []
            raise
        return named or []

    def _size(self, repository: str, manifest: dict[str, Any]) -> int:
        if "manifests" in manifest:  # an index: its first platform stands for all
            return self._size(
                repository, self._get(f"/v2/{repository}/manifests/{manifest['manifests'][0]['digest']}").json()
            )
        return sum(layer["size"] for layer in manifest["layers"])

    def _get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            # The environment has no say in which CA is trusted (psf/requests#3829), nor any proxy.
            session.trust_env = False
            session.verify = str(self.ca)
            session.auth = (self.login.user, self.login.password)
            answer = session.get(f"https://{self.address}{path}", headers={"Accept": _MANIFESTS}, timeout=_TIMEOUT)
        answer.raise_for_status()
        return answer


def _reason(error: requests.RequestException) -> str:
    """The innermost reason, which names the fault; what is around it names libraries."""
    if error.response is not None:
        return f"it answers {error.response.status_code} {error.response.reason}"
    inner: BaseException = error
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    return str(inner).strip() or type(inner).__name__
