"""No password stands in an inventory: everybody who may read the clone could read it, and it stays in git for ever."""

from __future__ import annotations

from collections.abc import Mapping

_INSTEAD = (
    "an inventory is no place for a password. Take it out, and change it if the file was ever shared. For ssh, a key"
    " (`ssh-copy-id`), in an agent if it has a passphrase, or --ssh-password-prompt; for sudo, pyinfra asks where it"
    " is wanted, or once for all hosts with --same-sudo-password"
)


def objection(said: Mapping[str, object]) -> str:
    """What is said of the first password in an inventory's data, by its name and never its value; empty if none is."""
    name = _first(said)
    return f"`{name}`: {_INSTEAD}" if name else ""


def _first(said: Mapping[str, object]) -> str:
    for name, value in said.items():
        if isinstance(value, Mapping) and (inner := _first(value)):
            return f"{name}[{inner!r}]"
        if value and "password" in str(name).lower():
            return str(name)
    return ""
