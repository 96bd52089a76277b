"""What the registry holds, as a table and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from image import columns
from image.registry import usage
from image.registry.stock import Item, Stock
from image.registry.usage import Use

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_DIGITS = 12  # of a digest, for people


@dataclass(frozen=True)
class Row:
    """A tag, or a manifest that has none."""

    image: str
    tag: str
    digest: str
    platforms: tuple[str, ...]
    bytes: int
    """Compressed, as the registry keeps them; what platforms share counts once."""
    pushed: str
    """When it was last pushed (ISO 8601, UTC); empty where that is not known."""
    services: tuple[str, ...]
    damage: str = ""


def rows(stock: Stock, uses: Iterable[Use]) -> tuple[Row, ...]:
    """One row an item."""
    uses = tuple(use for use in uses if not use.former)
    return tuple(_row(stock, uses, item) for item in stock.items())


def _row(stock: Stock, uses: tuple[Use, ...], item: Item) -> Row:
    parts = stock.with_referrers(item.name, [item.digest])
    return Row(
        image=item.name,
        tag=item.tag,
        digest=item.digest,
        platforms=platforms(stock, item.digest),
        bytes=stock.bytes(parts),
        pushed=datetime.fromtimestamp(item.pushed, UTC).isoformat(timespec="seconds") if item.pushed else "",
        services=tuple(sorted({use.service for use in usage.users(uses, stock, item)})),
        damage="; ".join(stock.damaged[digest] for digest in parts if digest in stock.damaged),
    )


def platforms(stock: Stock, digest: str) -> tuple[str, ...]:
    """What an index has images for."""
    manifest = stock.manifests.get(digest)
    return tuple(sorted({child.platform for child in manifest.children if child.platform})) if manifest else ()


def lines(rows: Iterable[Row], now: datetime) -> list[str]:
    """The table for people."""
    shown = [("IMAGE", "TAG", "DIGEST", "SIZE", "PUSHED", "USED BY", "PLATFORMS")]
    for row in rows:
        pushed = age(datetime.fromisoformat(row.pushed), now) if row.pushed else "-"
        platforms = row.damage or ", ".join(row.platforms) or "-"
        users = ", ".join(row.services) or "-"
        shown.append((row.image, row.tag or "-", short(row.digest), size(row.bytes), pushed, users, platforms))
    return columns.aligned(shown)


def as_json(rows: Iterable[Row]) -> str:
    """A list of objects, each with the fields of `Row`."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def short(digest: str) -> str:
    """The digest's first digits."""
    return digest.partition(":")[2][:_DIGITS]


def size(number: int) -> str:
    """Bytes for people, in powers of ten."""
    return f"{number / 1e6:.1f} MB" if number >= 100_000 else f"{number / 1e3:.1f} kB"


def age(then: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: `3 d ago`."""
    seconds = max(0.0, (now - then).total_seconds())
    length, unit = next(((length, unit) for length, unit in _UNITS if seconds >= length), _UNITS[-1])
    return f"{seconds / length:.0f} {unit} ago"
