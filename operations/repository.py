"""How apt on a host comes to know Docker's own repository, and the one key that it may be signed with."""

from __future__ import annotations

import base64
from collections.abc import Generator
from dataclasses import dataclass

from pyinfra import host, state
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.apt import Apt, Downloaded
from facts.engine import KEYRING, REPOSITORY, Engine, EngineState
from operations.file import place
from operations.known import converges, known
from operations.packages import DAY, failure, update
from operations.refusal import Refused
from pki.openpgp import PublicKey

_TIMEOUT = 90  # seconds


@dataclass(frozen=True)
class Repository:
    """An apt repository that is laid out as Docker's."""

    address: str
    """Where it is, e.g. `https://example.org/linux/debian`; its key is at `/gpg` there."""
    fingerprint: str
    """Of the key that signs it: 40 hexadecimal digits."""

    def source(self, codename: str) -> str:
        """The file that tells apt; source: sources.list(5), deb822."""
        return f"Types: deb\nURIs: {self.address}\nSuites: {codename}\nComponents: stable\nSigned-By: {KEYRING}\n"


@converges(Engine, Apt)
def known_to_apt(repository: Repository | None) -> Generator[PyinfraCommand, None, None]:
    """Have apt find `repository`, and trust for it no other key than the one with its fingerprint.

    Args:
        repository: None for hosts that need none.
    """
    if repository is None:
        host.noop("the distribution's own packages")
        return
    found = known(Engine)
    source = repository.source(found.codename)
    if _is_known(found, repository, source):
        host.noop("already known")
        return
    if found.source == "docker-ce" and not found.repository:
        host.noop("a person has told apt")
        return
    if not found.codename:
        raise Refused("its /etc/os-release does not say VERSION_CODENAME, so which packages fit it is not known")
    fresh = known(Apt).age < DAY
    if state.is_executing:  # before that the clock may be wrong, and nothing from the network right
        yield place(KEYRING, _armoured(_checked_key(repository)))
    yield place(REPOSITORY, source)
    yield (attempt := update(REPOSITORY if fresh else ""))
    if attempt.failed:
        # With a source that contradicts another one apt does nothing at all any more.
        yield StringCommand(f"rm -f {REPOSITORY} {KEYRING}")
        raise Refused(failure(f"reading the lists of {repository.address}, which apt does not know now,", attempt))


def _is_known(found: EngineState, repository: Repository, source: str) -> bool:
    try:
        key = PublicKey.parse(found.keyring.encode())
    except ValueError:
        return False
    return key.fingerprint == repository.fingerprint and found.repository.strip() == source.strip()


def _checked_key(repository: Repository) -> PublicKey:
    """The repository's key, if it is the right one; nothing of it has been put in place yet."""
    address = f"{repository.address}/gpg"
    download = host.get_fact(Downloaded, url=address, _timeout=_TIMEOUT)
    if download.error:
        why = " ".join(download.error.split())
        raise Refused(
            f"downloading the key {address} failed: {why}; look at engine_repository and at the host's network,"
            " then run again"
        )
    try:
        key = PublicKey.parse(download.text.encode())
    except ValueError as error:
        raise Refused(f"what {address} gives is not the key of a repository: {error}; nothing was changed") from error
    if key.fingerprint != repository.fingerprint:
        raise Refused(
            f"the key {address} has the fingerprint {key.fingerprint}, and not {repository.fingerprint}: somebody may"
            " stand between, or the key was replaced. Nothing was changed. Compare with what Docker publishes; if the"
            " new one is right, write it as engine_key_fingerprint, then run again"
        )
    return key


def _armoured(key: PublicKey) -> str:
    """Exactly what was checked, as text; source: RFC 9580, section 6.2."""
    return (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
        f"{base64.encodebytes(key.packets).decode()}"
        "-----END PGP PUBLIC KEY BLOCK-----\n"
    )
