"""skopeo, which reads and copies images of other registries; source: skopeo(1), versions 1.9 to 1.18.

It has a login and a CA for each side, so trust in the cluster's CA says nothing of the place that an image
comes from; and it speaks TLS or nothing, so nobody between learns the password of the cluster's registry.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from image.errors import UserError
from image.registry.client import Registry
from image.registry.reference import Reference
from image.run import run

# A question to a registry far away; it may answer by asking for a token first.
_ANSWER = 60.0
# One platform of a large image, over a slow line.
_COPY = 3600.0
_RETRIES = "3"
# What our registry answers where its disk is full.
_FULL = "500 Internal Server Error"
# A registry that cannot write may end the connection before skopeo has heard why.
_CUT_OFF = ("broken pipe", "connection reset by peer")
_SAYS = re.compile(r'level=fatal msg="(?:Error parsing image name \\".*?\\": )?(.*)"\s*$', re.MULTILINE)


@dataclass(frozen=True)
class Access:
    """How to get at images of others."""

    credentials: Path | None = None
    """A folder with Docker's config.json; None is the user's own."""
    ca: Path | None = None
    """A CA of a registry's own, besides those that the system trusts."""
    insecure: bool = False
    """Whether plain HTTP will do, and certificates of nobody."""


@dataclass(frozen=True)
class Skopeo:
    """skopeo, told how to get at both sides."""

    access: Access
    registry: Registry
    work: Path
    """A folder for copies of certificates, which skopeo wants in folders of their own."""

    def manifest(self, source: Reference, digest: str = "") -> str:
        """What a source is, as its registry has it: JSON; raises UserError."""
        return self._inspect(source, digest, "--raw")

    def config(self, source: Reference, digest: str = "") -> str:
        """The configuration of an image that has no index; raises UserError."""
        return self._inspect(source, digest, "--raw", "--config")

    def copy(self, source: Reference, digest: str, repository: str) -> None:
        """Copy one manifest and all that it refers to, by digest; what is there already is left out.

        Raises:
            UserError: with skopeo's last words.
        """
        target = f"docker://{self.registry.address}/{repository}@{digest}"
        words = ("--all", "--preserve-digests", "--remove-signatures", "--quiet", "--retry-times", _RETRIES)
        sides = (*self._source("src-", source), *self._target())
        try:
            run("skopeo", "copy", *words, *sides, f"docker://{source.at(digest)}", target, env=self._env, timeout=_COPY)
        except UserError as error:
            said = _said(error) or error.message
            again = "the same command again: what was copied stays, and is not copied twice"
            room = f"df -h on the node of {self.registry.address}; then "
            raise UserError(
                f"copying {source.at(digest)}: {said}",
                f"{room if any(one in said for one in (_FULL, *_CUT_OFF)) else ''}{again}",
            ) from error

    def tags(self, source: Reference) -> list[str]:
        """The tags of a source's repository; empty where it does not list them."""
        try:
            said = run(
                *("skopeo", "list-tags", *self._source("", source), f"docker://{source.repository}"),
                env=self._env,
                timeout=_ANSWER,
            )
        except UserError:
            return []
        return list(json.loads(said).get("Tags") or [])

    def _inspect(self, source: Reference, digest: str, *words: str) -> str:
        digest = digest or source.digest
        # skopeo takes a tag or a digest; the digest says more.
        where = source.at(digest) if digest else str(source)
        try:
            return run(
                *("skopeo", "inspect", *words, *self._source("", source), f"docker://{where}"),
                env=self._env,
                timeout=_ANSWER,
            )
        except UserError as error:
            raise self._explained(source, where, error) from error

    def _source(self, prefix: str, source: Reference) -> Iterator[str]:
        """Options for the side that an image comes from; `copy` puts a prefix before them."""
        folder = self.access.credentials or os.environ.get("DOCKER_CONFIG")
        # Else skopeo reads its own login file, and Docker's in its usual place.
        if folder and Path(folder, "config.json").exists():
            yield from (f"--{prefix}authfile", str(Path(folder, "config.json")))
        if self.access.ca:
            yield from (f"--{prefix}cert-dir", str(self.work / "source"))
        if self.access.insecure or (_is_here(source.domain) and not self.access.ca):
            yield f"--{prefix}tls-verify=false"

    def _target(self) -> Iterator[str]:
        yield from ("--dest-authfile", str(self.registry.credentials / "config.json"))
        if self.registry.ca:
            yield from ("--dest-cert-dir", str(self.work / "target"))

    @property
    def _env(self) -> dict[str, str]:
        """The cluster's own registry is asked directly, whatever proxy leads to the world outside."""
        beside = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        return {"NO_PROXY": ",".join(filter(None, (beside, self.registry.address.rpartition(":")[0])))}

    def _explained(self, source: Reference, where: str, error: UserError) -> UserError:
        """What a person can do about skopeo's words; an error that is not skopeo's own stays as it is."""
        said = _said(error)
        if not said:
            return error
        for pattern, message, fix in _CAUSES:
            if re.search(pattern, said, re.IGNORECASE):
                return UserError(
                    f"{message.format(where=where, domain=source.domain)}: {said}", fix.format(domain=source.domain)
                )
        if re.search(r"manifest unknown|not found|404", said, re.IGNORECASE):
            if "@" in where:
                return UserError(f"there is no {where} (any more)", "mirror --update, for what its tag means now")
            near = get_close_matches(source.tag, self.tags(source), n=5, cutoff=0.4)
            tags = f"one of its tags, such as {', '.join(near)}" if near else f"a tag that {source.repository} has"
            return UserError(f"there is no {where}", tags)
        return UserError(f"asking for {where}: {said}")


# What skopeo says (it is Go's and the registries' words) -> what, and the way out.
_CAUSES = (
    (
        r"toomanyrequests",
        "{domain} wants fewer downloads from you for now",
        "docker login {domain}, or wait some hours",
    ),
    (
        r"unauthorized|authentication required|access .* denied|invalid username/password|\b40[13]\b",
        "{domain} does not let you read {where}, or has no such image",
        "docker login {domain}; or --source-credentials FOLDER, with a config.json that `docker login` wrote",
    ),
    (
        r"HTTP response to HTTPS client",
        "{domain} speaks plain HTTP, which anybody between can change",
        "--insecure-source, if you mean it",
    ),
    (
        r"x509:|certificate",
        "the certificate of {domain} is not trusted",
        "--source-ca FILE, with the CA that signed it",
    ),
    (
        r"connection refused|no such host|timeout|timed out|no route|unreachable|connection reset|\bEOF\b",
        "{domain} does not answer",
        "curl -I https://{domain}/v2/; the same command again goes on from here",
    ),
)


@contextmanager
def ready(registry: Registry, access: Access) -> Iterator[Skopeo]:
    """Skopeo for as long as the body runs; raises UserError where a file cannot be read or it is not installed."""
    if access.credentials and not (access.credentials / "config.json").is_file():
        raise UserError(
            f"there is no {access.credentials / 'config.json'}", f"docker --config {access.credentials} login"
        )
    with TemporaryDirectory(prefix="pishelf-") as folder:
        for name, ca in (("source", access.ca), ("target", registry.ca)):
            if ca:
                _put(ca, Path(folder, name))
        yield Skopeo(access, registry, Path(folder))


def _put(ca: Path, folder: Path) -> None:
    try:
        folder.mkdir()
        shutil.copyfile(ca, folder / "ca.crt")
    except OSError as error:
        raise UserError(f"cannot read {ca}: {error.strerror}") from error


def _is_here(domain: str) -> bool:
    """Whether what is said to a registry never leaves this machine."""
    host = urlsplit(f"//{domain}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _said(error: UserError) -> str:
    """Skopeo's last words, without what it says before them; empty where it did not come to say any."""
    fatal = _SAYS.findall(error.message)
    return fatal[-1].replace('\\"', '"') if fatal else ""
