"""A few lines of our own in a file that belongs to others."""

from __future__ import annotations

from collections.abc import Sequence

_BEGIN, _END = "# begin pishelf", "# end pishelf"


def with_block(text: str, ours: Sequence[str], first: bool = False) -> str:
    """`text` with exactly these lines of ours, in one block between two marks; without lines, without a block.

    Everything else stays as it is, and a block stays where it is. Of a block whose end somebody took away only
    the mark goes: what follows it may be theirs.

    Args:
        first: a new block goes to the top and not to the end.
    """
    lines, at = _without_block(text.splitlines())
    if not ours:
        return "\n".join(lines)
    at = (0 if first else len(lines)) if at is None else at
    return "\n".join([*lines[:at], _BEGIN, *ours, _END, *lines[at:]])


def _without_block(lines: Sequence[str]) -> tuple[list[str], int | None]:
    """The lines without our blocks, and where the first of them stood."""
    rest, at, number = list[str](), None, 0
    while number < len(lines):
        if lines[number] == _BEGIN:
            at = len(rest) if at is None else at
            number = lines.index(_END, number) if _END in lines[number:] else number
        elif lines[number] != _END:
            rest.append(lines[number])
        number += 1
    return rest, at
