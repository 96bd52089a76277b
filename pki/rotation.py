"""The cluster's way to a new CA, as steps on its folder; `pki.phase` says what the files mean in between.

    begin     the new CA is made, and clients here trust both         MADE, then BOTH
              (every node trusts both, and gets a certificate of the new CA)
    clients   the client certificates come from the new CA            still BOTH
    retire    clients here trust the new CA only                      RETIRING
              (every node trusts the new CA only)
    finish    the new CA takes the old one's place, whose key goes    SETTLED

What stands in brackets is for a deploy to do. Each step may be repeated, and leaves alone what a later one did;
a run that was killed is continued by the next one, which walks all of them again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

from pki.authority import Authority, create_in, pem
from pki.folder import close, write_private
from pki.key import KeyRing, is_encrypted
from pki.people import client_files, has_good_client, readmit
from pki.phase import CA, CA_KEY, NEXT_CA, NEXT_CA_KEY, RETIRED_CA, Phase, Standing


@dataclass(frozen=True)
class Rotation:
    """How far it has come, and the CA that signs and is trusted in this phase."""

    phase: Phase
    authority: Authority
    """What every other deploy works with: it takes the certificates of both CAs for good."""

    @property
    def replacing(self) -> Authority:
        """The same CA, which replaces what the former one signed."""
        return replace(self.authority, keeps_former=False)

    @classmethod
    def load(cls, folder: Path, keys: KeyRing) -> Rotation:
        """Read it from the cluster's folder; raises what `Authority.load` raises."""
        close(folder)
        standing = Standing.read(folder)
        return cls(standing.phase, Authority.of(standing, keys))


def due(folder: Path, older_than: dt.datetime) -> bool:
    """Whether there is something to do: a rotation is under way, or the last one ended before this moment.

    Raises:
        ValueError: the folder's CA cannot be read.
    """
    if Standing.read(folder).phase is not Phase.SETTLED:
        return True
    try:
        ended = (folder / RETIRED_CA).stat().st_mtime
    except FileNotFoundError:
        return True
    return dt.datetime.fromtimestamp(ended, dt.UTC) < older_than


def begin(folder: Path, name: str, keys: KeyRing) -> Rotation:
    """Make the next CA of the cluster `name` and have docker's clients on this computer trust both.

    A person who wants a certain CA next puts it there beforehand, as `next-ca.pem` and `next-ca-key.pem`. The
    present CA may have expired, and its key may be lost. An encrypted key's successor is encrypted, too.

    Raises:
        ValueError: there is no CA yet, or the next one cannot be made or used.
    """
    close(folder)
    standing = Standing.read(folder)
    if standing.phase is Phase.SETTLED:
        encrypted = keys.encrypts or is_encrypted(folder / CA_KEY)
        create_in(folder, name, keys, NEXT_CA, NEXT_CA_KEY, encrypted=encrypted)
        standing = Standing.read(folder)
    if standing.phase is Phase.MADE:
        write_private(folder / CA, Authority.of(standing.with_next(folder), keys).pem)
    return Rotation.load(folder, keys)


def clients(folder: Path, owner: str, keys: KeyRing) -> tuple[str, ...]:
    """Have the new CA certify the owner and everybody else who has access; who needs new files from the owner.

    Raises:
        ValueError: the new CA's key cannot be opened.
    """
    authority = Rotation.load(folder, keys).replacing
    client_files(authority, folder, owner)
    return readmit(authority, folder)


def retire(folder: Path, keys: KeyRing) -> Rotation:
    """Have clients here trust the new CA only; every server must have a certificate of it by now.

    Raises:
        ValueError: no rotation has come so far.
    """
    rotation = Rotation.load(folder, keys)
    if rotation.phase is Phase.RETIRING:
        return rotation
    if rotation.phase is not Phase.BOTH:
        raise ValueError(f"{folder} is not moving to a new CA ({rotation.phase}); run deploys/rotate_ca.py")
    if not has_good_client(rotation.replacing, folder):
        raise ValueError(f"{folder}/cert.pem is not of the new CA yet; run deploys/rotate_ca.py again")
    (former,) = rotation.authority.former
    write_private(folder / RETIRED_CA, pem(former))
    write_private(folder / CA, pem(rotation.authority.certificate))
    return Rotation.load(folder, keys)


def finish(folder: Path, keys: KeyRing) -> Rotation:
    """Put the new CA in the old one's place and destroy the old one's key; every node must trust it by now.

    The old certificate stays as `retired-ca.pem`, for the record.

    Raises:
        ValueError: the old CA is not retired yet.
    """
    rotation = Rotation.load(folder, keys)
    if rotation.phase is Phase.SETTLED:
        return rotation
    if rotation.phase is not Phase.RETIRING:
        raise ValueError(f"{folder} still trusts its former CA; run deploys/rotate_ca.py")
    readmit(rotation.replacing, folder)
    (folder / RETIRED_CA).touch(mode=0o600)  # its age says when the rotation ended
    if (folder / NEXT_CA_KEY).exists():
        (folder / NEXT_CA_KEY).replace(folder / CA_KEY)
    (folder / NEXT_CA).unlink()
    return Rotation.load(folder, keys)
