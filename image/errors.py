"""What users see when something is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable

from click import ClickException

_INNERMOST = re.compile(r"(certificate verify failed[^(']*|\[Errno -?\d+\] [^'\")]*|timed out|alert [a-z ]+)")


def reason(error: BaseException) -> str:
    """The innermost of a network error's causes, without the wrapping of three libraries."""
    text = str(error)
    inner = _INNERMOST.search(text)
    return inner[1].strip() if inner else text


class UserError(ClickException):
    """One line of what, which value and why; the fix on the next line. Exit code 1."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}\n  Try: {fix}" if fix else message)


def raise_all(errors: Iterable[BaseException | None]) -> None:
    """Raise what went wrong with several pieces of work, as one error; what is no person's fault goes first."""
    found = [error for error in errors if error]
    for error in found:
        if not isinstance(error, UserError):
            raise error
    if found:
        # One cause, such as a proxy that is away, is told once and not for each piece.
        raise UserError("\n".join(dict.fromkeys(error.message for error in found if isinstance(error, UserError))))
