"""A secret, from a person's keyboard or from a program: never from the command line, which others can see."""

from __future__ import annotations

import getpass
import sys

from image.errors import UserError


def read(name: str) -> bytes:
    """Ask twice on a terminal, else read standard input to its end; without the newline at the end.

    Raises:
        UserError: the two differ, or there is no second one.
    """
    if not sys.stdin.isatty():
        return without_newline(sys.stdin.buffer.read())
    try:
        first = getpass.getpass(f"{name}: ")
        again = getpass.getpass(f"{name} again: ")
    except EOFError as error:
        raise UserError(f"nothing was typed for {name}, and nothing was stored") from error
    if first != again:
        raise UserError(f"the two that were typed for {name} differ, and nothing was stored", "the same command again")
    return first.encode()


def without_newline(value: bytes) -> bytes:
    """Without one newline at its end, which `echo` and editors add."""
    return value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value
