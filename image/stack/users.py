"""Who may enter by the gateway: names and hashes of passwords in a cluster's own settings."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import bcrypt
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from image import settings, table
from image.cluster import Cluster
from image.errors import UserError
from image.stack.rollout import Rollout
from pki.folder import write_private

_KEY = "users"
_SHORTEST = 8
# bcrypt takes no more.
_LONGEST = 72
# 60 ms of a fast processor. A Pi's takes many times that, at a login; then the gateway remembers that it was right.
_ROUNDS = 10
_GENERATED = 18
# A line of the gateway's configuration, as its template writes it.
_LINE = re.compile(r"^\s*user (\S+) (\S+)$", re.MULTILINE)
_CONFIG = "configs/gateway.Caddyfile.j2"


def generated() -> str:
    """A password of 144 random bits, in 24 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(_GENERATED)


def check_name(name: str) -> None:
    """Raise UserError unless a browser and the settings can say the name."""
    if not settings.USER.fullmatch(name):
        raise UserError(f"{name!r} is no name for a user", "letters, digits and . _ @ -")


def check(name: str, password: bytes) -> None:
    """Raise UserError unless the password will do; it is not told."""
    fix = f"python -m image user set {name} --generate makes a good one"
    if len(password) < _SHORTEST:
        raise UserError(f"the password of {name} has fewer than {_SHORTEST} letters", fix)
    if len(password) > _LONGEST:
        raise UserError(f"the password of {name} has {len(password)} bytes, and bcrypt takes {_LONGEST} at most", fix)
    try:
        text = password.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"the password of {name} is not UTF-8, which browsers send", fix) from error
    if not text.isprintable():
        raise UserError(f"the password of {name} has a line's end or another letter that no keyboard types", fix)


def known(cluster: Cluster) -> tuple[str, ...]:
    """The names of all users, sorted; raises UserError."""
    return tuple(sorted(settings.of(cluster).users))


def store(cluster: Cluster, name: str, password: bytes) -> Path:
    """Write the password's hash to the cluster's own settings, whose other lines stay as they are; gives the file.

    Raises:
        UserError: the name or the password will not do, or the file cannot be read or written.
    """
    check_name(name)
    check(name, password)
    file = _file(cluster)
    text = _read(file)
    users = text.setdefault(_KEY, tomlkit.table())
    users[name] = bcrypt.hashpw(password, bcrypt.gensalt(_ROUNDS)).decode()
    _write(file, text)
    return file


def remove(cluster: Cluster, name: str) -> Path:
    """Take a user out of the cluster's own settings; gives the file.

    Raises:
        UserError: there is none; or the settings for all clusters have one of this name, whose password would hold
            instead of the one that is removed. Nothing is removed then.
    """
    file = _file(cluster)
    text = _read(file)
    users = text.get(_KEY, {})
    of_all = table.load(settings.FILE).get(_KEY)
    if isinstance(of_all, dict) and name in of_all:
        fix = "take the line out there" + ("; then the same command again" if name in users else "")
        raise UserError(f"{name} stands in {settings.FILE}, which is for all clusters", fix)
    if name in users:
        del users[name]
        _write(file, text)
        return file
    there = known(cluster)
    raise UserError(f"there is no user {name!r}", f"one of {', '.join(there)}" if there else "there is none at all")


def hint(cluster: Cluster) -> str:
    """What to say to whom nobody's password opens the gateway; else empty."""
    if known(cluster):
        return ""
    return f"No password opens the gateway yet, only a client certificate: {cluster.command} user set NAME, then deploy"


def taken_back(cluster: Cluster, rollout: Rollout) -> str:
    """What to say where a stack of another time lets others in than the settings of today; else empty."""
    if _CONFIG not in rollout.files:
        return ""
    then, now = dict(_LINE.findall(rollout.files[_CONFIG].decode())), settings.of(cluster).users
    if not (others := sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))):
        return ""
    return (
        f"Warning: the gateway's users and passwords are those of that revision, too: other ones for "
        f"{', '.join(others)} until {cluster.command} deploy"
    )


def _file(cluster: Cluster) -> Path:
    """Where the settings are. A link to them is followed: else writing would put a file in the link's place."""
    return (cluster.credentials / settings.NAME).resolve()


def _read(file: Path) -> tomlkit.TOMLDocument:
    try:
        text = tomlkit.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return tomlkit.document()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}", f"ls -l {file}") from error
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: {error}", "key = value, with text in double quotes") from error
    if not isinstance(text.get(_KEY, {}), dict | Table):
        raise UserError(f"{file}: {_KEY} is not a table", f"[{_KEY}], and nothing else of that name")
    return text


def _write(file: Path, text: tomlkit.TOMLDocument) -> None:
    try:
        write_private(file, tomlkit.dumps(text).encode())
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}", "df -h, or ls -l on its folder") from error
