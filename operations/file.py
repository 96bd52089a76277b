"""Small files, written whole or not at all, in one round trip."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from pyinfra.api import StringCommand


def place(path: str, content: str, mode: str = "644") -> StringCommand:
    """The command that writes `content` to `path`; it shows in argv, so it must not be a secret."""
    return StringCommand(placing(path, content, mode))


def placing(path: str, content: str, mode: str = "644") -> str:
    """As `place`, as shell for a longer script."""
    new = f"{path}.new"
    folder = PurePosixPath(path).parent
    return f"mkdir -p {folder} && printf %s {shlex.quote(content)} > {new} && {_settle(new, path, mode)}"


def place_unseen(path: str, content: str, mode: str = "600") -> StringCommand:
    """As `place`, through standard input: in no argv and in no file that others can read."""
    new = f"{path}.new"
    return StringCommand(
        f"umask 077 && mkdir -p $(dirname {path}) && cat > {new} && {_settle(new, path, mode)}",
        _stdin=content,
    )


def _settle(new: str, path: str, mode: str) -> str:
    """Put a new file in its place; written out before and after, for a Pi's power may go at any time."""
    return f"chmod {mode} {new} && sync {new} && mv {new} {path} && sync $(dirname {path})"
