"""What users see when something is wrong."""

from __future__ import annotations

import re

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
