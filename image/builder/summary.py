"""What `build-all` ends with: sizes and references, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from image import columns
from image.builder import wire
from image.builder.published import Published
from image.platform import Platform

_HEAD = ("IMAGE", "TAG", "PLATFORM", "PLAIN", "PACKED", "WIRE")


@dataclass(frozen=True)
class Row:
    """An image for a platform. Sizes are in bytes, None where they are not known; `packed` is of a packed program."""

    platform: str
    digest: str
    plain: int | None
    packed: int | None
    wire: int | None
    notice: str


@dataclass(frozen=True)
class Entry:
    """An image."""

    name: str
    tag: str
    reference: str
    digest: str
    platforms: tuple[Row, ...]


def of(there: Mapping[str, Published]) -> tuple[Entry, ...]:
    """The images that the registry has, in order."""
    return tuple(
        Entry(name, image.tag, image.reference, image.reference.rpartition("@")[2], tuple(_rows(image)))
        for name, image in sorted(there.items())
    )


def lines(entries: tuple[Entry, ...]) -> list[str]:
    """A table of the sizes, what there is to say of some, and each image's reference."""
    rows = [
        (entry.name, entry.tag, row.platform, *map(_megabytes, (row.plain, row.packed, row.wire)))
        for entry in entries
        for row in entry.platforms
    ]
    notices = [
        f"{entry.name} {row.platform}: {row.notice}" for entry in entries for row in entry.platforms if row.notice
    ]
    return [*columns.aligned([_HEAD, *rows]), *notices, "", *(entry.reference for entry in entries)]


def values(entries: tuple[Entry, ...]) -> list[dict[str, object]]:
    """The same for JSON."""
    return [asdict(entry) for entry in entries]


def _rows(image: Published) -> Iterator[Row]:
    for platform in sorted(image.platforms):
        yield _row(image, platform)


def _row(image: Published, platform: Platform) -> Row:
    sizes, digest = image.sizes.get(platform), image.manifests.get(platform, "")
    return Row(
        str(platform),
        digest,
        sizes.plain if sizes else None,
        sizes.packed if sizes else None,
        wire.known(digest) if digest else None,
        sizes.notice if sizes else "",
    )


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"
