"""What users see when something is wrong."""

from __future__ import annotations

from click import ClickException


class UserError(ClickException):
    """One line of what, which value and why; the fix on the next line. Exit code 1."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(f"{message}\n  Try: {fix}" if fix else message)
