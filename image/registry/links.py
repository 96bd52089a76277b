"""Which tags and manifests the registry has, and since when: the links in its data.

Over HTTP a registry tells neither what is untagged nor when something was pushed. Its data says both: a small file
for each manifest and each tag. Source: distribution, registry/storage/paths.go.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

import docker
from docker.models.containers import Container

from image.errors import UserError

FOLDER = "/var/lib/registry/docker/registry/v2/repositories"
_TAG = re.compile(r"repositories/(?P<name>.+)/_manifests/tags/(?P<tag>[^/]+)/current/link")
_REVISION = re.compile(r"repositories/(?P<name>.+)/_manifests/revisions/(?P<kind>[^/]+)/(?P<hex>[^/]+)/link")


@dataclass(frozen=True)
class Tag:
    """What a tag stands for, and when it was pushed: seconds since 1970, by the clock of the registry's node."""

    digest: str
    pushed: float


@dataclass(frozen=True)
class Links:
    """By the name of the image: its tags, and the digests of all its manifests, tagged or not, each with its push."""

    tags: Mapping[str, Mapping[str, Tag]] = field(default_factory=dict)
    manifests: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def tag(self, name: str, tag: str) -> Tag | None:
        """What an image's tag stands for, if there is one."""
        return self.tags.get(name, {}).get(tag)


def read(container: Container) -> Links:
    """Read the links of a registry's container, which may run or not."""
    try:
        chunks, _ = container.get_archive(FOLDER)
    except docker.errors.NotFound:  # nothing was ever pushed
        return Links()
    return parse(io.BufferedReader(_Chunks(chunks)))


def parse(archive: IO[bytes]) -> Links:
    """Read a tar archive of the folder `repositories`; what is no link in it is passed over.

    Raises:
        UserError: it is not whole. A part would do harm: what it says nothing of would be taken for garbage.
    """
    tags: dict[str, dict[str, Tag]] = defaultdict(dict)
    manifests: dict[str, dict[str, float]] = defaultdict(dict)
    try:
        with tarfile.open(fileobj=archive, mode="r|") as opened:
            for member in opened:
                if found := _REVISION.fullmatch(member.name):
                    manifests[found["name"]][f"{found['kind']}:{found['hex']}"] = float(member.mtime)
                elif (found := _TAG.fullmatch(member.name)) and (file := opened.extractfile(member)):
                    tags[found["name"]][found["tag"]] = Tag(file.read().decode().strip(), float(member.mtime))
            # It ends with two empty blocks. Python is content without any, where it is cut between two files.
            whole = opened.fileobj is not None and opened.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise UserError(f"what the registry has came only in part: {error}", "the same command again") from error
    if not whole:
        raise UserError("what the registry has came only in part: its end is missing", "the same command again")
    return Links(dict(tags), dict(manifests))


def same(one: Links, other: Links) -> Links:
    """The tags of the one that stand for the same in the other."""
    tags = {
        name: {tag: found for tag, found in tags.items() if _same(found, other.tag(name, tag))}
        for name, tags in one.tags.items()
    }
    return Links({name: found for name, found in tags.items() if found})


def _same(one: Tag, other: Tag | None) -> bool:
    return other is not None and one.digest == other.digest


def date(container: Container, found: Links) -> None:
    """Give tags that are there already the time at which they were pushed first, when another registry got them."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as opened:
        for name, tags in found.tags.items():
            for tag, one in tags.items():
                member = tarfile.TarInfo(f"{name}/_manifests/tags/{tag}/current/link")
                member.size, member.mtime = len(one.digest), int(one.pushed)
                opened.addfile(member, io.BytesIO(one.digest.encode()))
    if found.tags:
        container.put_archive(FOLDER, archive.getvalue())


class _Chunks(io.RawIOBase):
    """A file to read from chunks that arrive one by one."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # what BufferedReader gives
        while not self._rest:
            if (chunk := next(self._chunks, None)) is None:
                return 0
            self._rest = chunk
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
