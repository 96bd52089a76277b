"""The cluster's registry, asked over HTTP; source: OCI distribution specification."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from image.cluster import Cluster
from image.errors import UserError, reason
from image.platform import Platform, described
from image.registry.manifest import ACCEPT, ACCEPT_INDEX, digest_of

_TIMEOUT = 10  # seconds
# It answers a blob when it is on its disk: a slow card may write 10 MB a second.
_TO_DISK = 300


class NoAnswerError(UserError):
    """Nothing answers at the registry's address: it does not run, or its node is away."""


@dataclass(frozen=True)
class Login:
    """A registry's user and password."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def read(cls, folder: Path, registry: str) -> Login:
        """Read what `docker login` or the provisioning wrote into config.json; raises UserError."""
        file = folder / "config.json"
        fix = f"docker --config {folder} login {registry}, or pyinfra inventory.py deploys/swarm.py"
        try:
            entry = json.loads(file.read_text(encoding="utf-8"))["auths"][registry]
            user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}", fix) from error
        except (KeyError, TypeError):
            raise UserError(f"{file} has no login for {registry}", fix) from None
        except ValueError:
            raise UserError(f"{file}: the login for {registry} cannot be read", fix) from None
        if not colon:
            raise UserError(f"{file}: the login for {registry} is not user:password", fix)
        return cls(user, password)

    def fingerprint(self, salt: str) -> str:
        """Tells one login from another, and nothing else of it."""
        secret = f"{self.user}:{self.password}".encode()
        return hashlib.scrypt(secret, salt=salt.encode(), n=2**14, r=8, p=1, dklen=16).hex()


@dataclass(frozen=True)
class Index:
    """A multi-platform index, as a registry holds it."""

    digest: str
    manifests: Mapping[Platform, str]
    """Each platform's own digest."""
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def platforms(self) -> frozenset[Platform]:
        """What it has an image for."""
        return frozenset(self.manifests)

    @classmethod
    def parse(cls, body: bytes, where: str) -> Index:
        """Read an index; platforms that we do not build are left out. Raises UserError."""
        try:
            found: dict[str, Any] = json.loads(body)
            platforms = [described(entry.get("platform") or {}) for entry in found["manifests"]]
            annotations = found.get("annotations") or {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{where} is not a multi-platform index: {error!r}") from error
        manifests = {}
        for platform, entry in zip(platforms, found["manifests"], strict=True):
            try:
                manifests[Platform.parse(platform)] = str(entry.get("digest"))
            except UserError:
                continue
        return cls(digest_of(body), manifests, annotations)


@dataclass(frozen=True)
class Registry:
    """A registry and how to ask it."""

    address: str
    login: Login
    ca: Path | None = None
    # For advice only.
    context: str = "NAME"
    credentials: Path = Path("FOLDER")

    @classmethod
    def of(cls, cluster: Cluster) -> Registry:
        """The cluster's own; raises UserError where its login cannot be read."""
        address = cluster.registry
        ca = cluster.endpoint.tls / "ca.pem" if cluster.endpoint.tls else None
        return cls(address, Login.read(cluster.credentials, address), ca, cluster.name, cluster.credentials)

    def index(self, name: str, reference: str) -> Index | None:
        """The index of a tag or digest, or None where the registry has none.

        Raises:
            UserError: the registry refuses the password or answers something else.
            NoAnswerError: it does not answer.
        """
        where = f"{self.address}/{name}:{reference}"
        answer = self.ask("GET", f"/v2/{name}/manifests/{reference}", {"Accept": ACCEPT_INDEX})
        if not self._found(answer, f"{name}:{reference}"):
            return None
        found = digest_of(answer.content)
        said = answer.headers.get("Docker-Content-Digest", found)
        if said != found:
            raise UserError(
                f"{where} is damaged: it should be {said} and is {found}",
                f"python -m image --context {self.context} verify, which says how it is replaced",
            )
        return Index.parse(answer.content, where)

    def has(self, reference: str) -> bool:
        """Whether a reference by digest of this registry, an image or an index, is there; raises UserError."""
        name, _, digest = reference.removeprefix(f"{self.address}/").partition("@")
        return self._found(self.ask("HEAD", f"/v2/{name}/manifests/{digest}", {"Accept": ACCEPT}), f"{name}@{digest}")

    def manifest(self, name: str, reference: str) -> bytes | None:
        """What a tag or digest stands for, an index or a manifest, as it is; None where the registry has none.

        Raises:
            UserError: the registry refuses the password or answers something else.
            NoAnswerError: it does not answer.
        """
        answer = self.ask("GET", f"/v2/{name}/manifests/{reference}", {"Accept": ACCEPT})
        return answer.content if self._found(answer, f"{name}:{reference}") else None

    def delete(self, name: str, reference: str) -> None:
        """Remove a tag, or a manifest by its digest with all tags of it; what is not there is as it should be.

        What it consists of stays until the registry's garbage is collected. Raises as `manifest`.
        """
        answer = self.ask("DELETE", f"/v2/{name}/manifests/{reference}")
        if answer.status_code != requests.codes.accepted:
            self._found(answer, f"{name}:{reference}")

    def _found(self, answer: requests.Response, what: str) -> bool:
        """Whether it is there; raises UserError for any other answer."""
        if answer.status_code == requests.codes.not_found:
            return False
        if answer.status_code != requests.codes.ok:
            raise UserError(f"asking for {self.address}/{what}: {_refusal(answer)}")
        return True

    def check(self) -> None:
        """Raise UserError unless the registry answers and takes the login."""
        answer = self.ask("GET", "/v2/")
        if answer.status_code != requests.codes.ok:
            raise UserError(f"the registry at {self.address}: {_refusal(answer)}")

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """One request, whatever status it is answered with, but for a refused password.

        Args:
            path: from the root on, e.g. `/v2/busybox/tags/list`; a URL that this registry gave is one, too.
            stream: leave the answer's body to the caller, who closes the answer.

        Raises:
            UserError: the certificate is not trusted or the password is refused.
            NoAnswerError: nothing answers.
        """
        root = f"https://{self.address}"
        url = f"{root}{path.removeprefix(root)}"
        with requests.Session() as session:
            # The environment has no say in which CA is trusted (psf/requests#3829), nor any proxy.
            session.trust_env = False
            session.verify = str(self.ca) if self.ca else True
            session.auth = (self.login.user, self.login.password)
            try:
                patience = _TIMEOUT if data is None else _TO_DISK
                answer = session.request(
                    method, url, headers=dict(headers or {}), data=data, timeout=patience, stream=stream
                )
            except requests.exceptions.SSLError as error:
                raise UserError(
                    f"the certificate of the registry at {self.address} is not trusted: {reason(error)}",
                    "pyinfra inventory.py deploys/swarm.py",
                ) from error
            except requests.RequestException as error:
                raise NoAnswerError(
                    f"the registry at {self.address} does not answer: {reason(error)}",
                    f"python -m image --context {self.context} build-all, which starts it",
                ) from error
        if answer.status_code == requests.codes.unauthorized:
            raise UserError(
                f"the registry at {self.address} refuses the password of {self.login.user!r}",
                "pyinfra inventory.py deploys/swarm.py, which makes this login the registry's; or "
                f"docker --config {self.credentials} login {self.address}",
            )
        return answer


def _refusal(answer: requests.Response) -> str:
    """Status and, where the registry gave them, its words."""
    try:
        words = answer.json()["errors"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError):
        words = answer.reason
    return f"answers {answer.status_code} {words}"
