"""What a person names of the registry: IMAGE, IMAGE:TAG or IMAGE@DIGEST."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from image.errors import UserError
from image.registry.stock import Item, Stock


def select(stock: Stock, names: Iterable[str]) -> tuple[Item, ...]:
    """The items that are named, each once; raises UserError with the nearest that there is."""
    return tuple(dict.fromkeys(find(stock, name, whole=True) for name in names))


def find(stock: Stock, text: str, whole: bool = False) -> Item:
    """The item that is named; an image's name alone is its newest tag, unless the whole name has to be given.

    Raises:
        UserError: there is none, or its tag is missing; with the nearest that there is.
    """
    items = stock.items()
    known = {str(item): item for item in items}
    if text in known:
        return known[text]
    of_name = [item for item in items if item.name == text and item.tag]
    if of_name and not whole:
        return max(of_name, key=lambda item: item.pushed)
    if of_name:
        raise UserError(f"which {text}?", " or ".join(map(str, of_name)))
    name, at, digest = text.partition("@")
    if at and (found := [item for item in items if (item.name, item.digest) == (name, digest)]):
        return found[0]
    near = get_close_matches(text, known, n=1) or get_close_matches(
        text, {item.name for item in items}, n=1, cutoff=0.4
    )
    raise UserError(f"the registry has no {text!r}", " or ".join([*near, "python -m image list"]))
