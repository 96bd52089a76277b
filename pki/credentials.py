"""The registry's login, kept where Docker's own programs look for it."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt

from pki.folder import write_private

_CONFIG = "config.json"
_USER = "cluster"
# The password is 192 random bits, so the hash need not be slow, and a Pi checks it on every request.
_ROUNDS = 5


@dataclass(frozen=True)
class Login:
    """A user's name and password; the password stays out of the value's repr."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r}, …)"

    def opens(self, htpasswd: str) -> bool:
        """Whether a registry with this htpasswd file lets the login in."""
        for line in htpasswd.splitlines():
            user, _, hashed = line.strip().partition(":")
            if user == self.user:
                try:
                    return bcrypt.checkpw(self.password.encode(), hashed.encode())
                except ValueError:  # not a bcrypt hash
                    return False
        return False

    def htpasswd(self) -> str:
        """The file that lets this login in; the registry knows bcrypt only."""
        hashed = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(_ROUNDS))
        return f"{self.user}:{hashed.decode()}\n"


def registry_login(folder: Path, registry: str) -> Login:
    """The login for `registry` (`host:port`) of `folder`'s config.json; made at the first call.

    The file is Docker's client configuration, so the folder serves as DOCKER_CONFIG.

    Raises:
        ValueError: config.json is there and is not what Docker writes.
    """
    if login := known_login(folder, registry):
        return login
    config = _config(folder)
    login = Login(_USER, secrets.token_urlsafe(24))
    token = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    auths = {**config.get("auths", {}), registry: {"auth": token}}
    write_private(folder / _CONFIG, json.dumps({**config, "auths": auths}, indent=2).encode())
    return login


def known_login(folder: Path, registry: str) -> Login | None:
    """The login as `registry_login`, or None where there is none yet."""
    try:
        known = _config(folder).get("auths", {}).get(registry)
        if known is None:
            return None
        user, _, password = base64.b64decode(known["auth"], validate=True).decode().partition(":")
        return Login(user, password)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"reading {folder / _CONFIG}: {error!r}; remove the file to have it made again") from error


def _config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    config: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return config
