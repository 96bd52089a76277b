"""Small files, written whole or not at all, in one round trip."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from pyinfra.api import StringCommand


def place(path: str, content: str, mode: str = "644", check: str = "true") -> StringCommand:
    """The command that writes `content` to `path`; it shows in argv, so it must not be a secret.

    Args:
        check: a command that fails, saying why, where the file that it is given must not be put in place.
    """
    return StringCommand(placing(path, content, mode, check))


def placing(path: str, content: str, mode: str = "644", check: str = "true") -> str:
    """As `place`, as shell for a longer script."""
    new = f"{path}.new"
    return (
        f"{{ mkdir -p {PurePosixPath(path).parent} && printf %s {shlex.quote(content)} > {new}"
        f" && {check} {new} && chmod {mode} {new} && {_settle(new, path)}; }} || {_give_up(new, path)}"
    )


def place_unseen(path: str, content: str, mode: str = "600", like: str = "") -> StringCommand:
    """As `place`, through standard input: in no argv and in no file that others can read before its mode says so.

    Args:
        like: a file whose mode and owner it gets instead of `mode`, where there is one.
    """
    new = f"{path}.new"
    chmod = f"chmod {mode} {new}"
    if like:
        # Not one after the other: the mode must not be wider than the model's for a moment.
        chmod = f"if test -e {like}; then cp --attributes-only --preserve=mode,ownership {like} {new}; else {chmod}; fi"
    return StringCommand(
        f"{{ mkdir -p $(dirname {path}) && (umask 077 && rm -f {new} && cat > {new}) && {chmod}"
        f" && {_settle(new, path)}; }} || {_give_up(new, path)}",
        _stdin=content,
    )


def _settle(new: str, path: str) -> str:
    """Put a new file in its place; written out before and after, for a Pi's power may go at any time."""
    return f"sync {new} && mv {new} {path} && sync $(dirname {path})"


def _give_up(new: str, path: str) -> str:
    """Say what became of the file, and how much room there is: a full disk is the usual reason."""
    free = f"$(df --human-readable --output=avail $(dirname {path}) | tail --lines=1 | tr --delete ' ')"
    return (
        f"{{ rm -f {new};"
        f' echo "{path} was not written and is as it was; {free} of disk is free there. Make room'
        ' (sudo apt-get clean, sudo docker system prune) or mend what is said above, then run again" >&2; false; }'
    )
