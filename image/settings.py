"""What the owner chooses: `stack/settings.toml`, and over it what differs in one cluster."""

from __future__ import annotations

import re
import ssl
import zoneinfo
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image import table
from image.cluster import Cluster
from image.errors import UserError
from image.plan import ROOT, Image

NAME = "settings.toml"
FILE = ROOT / "stack" / NAME

_HIGHEST_PORT = 65535
# Source: ParseDuration of prometheus/common, model/time.go; units once each, the largest first.
_DURATION = re.compile(r"(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?", re.ASCII)
# Source: ParseBase2Bytes of alecthomas/units, which Prometheus reads its options with; K is 1024.
_SIZE = re.compile(r"\d+(\.\d+)?(B|[KMGTPE]i?B)", re.ASCII)
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)
# One more is twice the time: a Pi Zero takes seconds for this one, at each login and, for the highest, at each start.
_HIGHEST_COST = 12
USER = re.compile(r"[\w.@-]+", re.ASCII)
# Braces no, for Alertmanager would fill in what is in them: no mail is sent where it cannot.
_ADDRESS = re.compile(r"[^@\s,;<>\"{}]+@[^@\s,;<>\"{}]+")
_HOST_PORT = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):(\d{1,5})", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_WEB = re.compile(r"https?://[^\s/]+\S*", re.ASCII)
_PEM = "-----BEGIN CERTIFICATE-----"
_CERTIFICATE = re.compile(rf"{_PEM}.*?-----END CERTIFICATE-----", re.DOTALL)
_OF_MAIL = {"mail", "services", "whiskers"}
"""The keys that say whether mail is sent, and how."""


@dataclass(frozen=True)
class Services:
    """Which of the services that not everybody wants are in the stack."""

    whiskers: bool
    grafana: bool
    portainer: bool


@dataclass(frozen=True)
class Prometheus:
    """How much it keeps, in Prometheus' own words; empty: sized by the node (`image.stack.sizing`)."""

    retention_time: str
    retention_size: str


@dataclass(frozen=True)
class Mail:
    """Where alerts go."""

    to: str
    """Addresses, with commas between them; empty: no mail."""
    from_: str
    smarthost: str
    """The server that takes the mail, `host:port`."""
    username: str
    ca: str
    """Whose certificate the server has, in PEM; empty: one of those that the image trusts. In the file it is the path
    of the PEM file."""


@dataclass(frozen=True)
class Whiskers:
    """The cat of the day; the mail server is that of `Mail`."""

    to: str
    """Addresses, with commas between them; empty: as `Mail`."""
    at: str
    """The time of the day, `HH:MM`."""
    time_zone: str
    feed: str
    """Where pictures come from; empty: the folder in its volume."""


@dataclass(frozen=True)
class Settings:
    """All of it; `table.values` has it with the file's own keys."""

    keep_revisions: int
    web_replicas: int
    gateway_port: int
    services: Services
    prometheus: Prometheus
    mail: Mail
    whiskers: Whiskers
    users: Mapping[str, str]
    """Who may enter by the gateway: name -> bcrypt hash of the password."""


def of(cluster: Cluster) -> Settings:
    """The settings for a cluster: the clone's, and over them those in the cluster's folder; raises UserError."""
    return read(FILE, cluster.credentials / NAME)


def used(cluster: Cluster, images: Iterable[Image]) -> tuple[Image, ...]:
    """Those of the images that the cluster uses: not those of services that are switched off. Raises UserError."""
    services = of(cluster).services
    return tuple(image for image in images if getattr(services, image.name, True))


def read(file: Path = FILE, own: Path | None = None) -> Settings:
    """Read settings from a file that has them all, and from one that has what differs, if there is one.

    Raises:
        UserError: a key is unknown, missing, of the wrong kind or says what cannot be; with the file and the key.
    """
    values = _load(file)
    chosen, last = _parsed(values, file), file
    if own is not None and own.exists():
        differs = _load(own)
        chosen, last = _parsed(_over(values, differs), own), own if _OF_MAIL & differs.keys() else file
    _refuse_mail_that_cannot_be_sent(chosen, last)
    return chosen


def _load(file: Path) -> dict[str, Any]:
    """The table in a file, and in it the certificate instead of the file's path, which is relative to this file."""
    values = table.load(file)
    mail = values.get("mail")
    if not isinstance(mail, dict) or not isinstance(path := mail.get("ca"), str) or not path:
        return values
    try:
        pem = (file.parent / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: mail.ca = {path!r}: {file.parent / path} cannot be read: {error}") from error
    _refuse_what_is_no_ca(pem, f"{file}: mail.ca = {path!r}: {file.parent / path}")
    return {**values, "mail": {**mail, "ca": pem}}


def _refuse_what_is_no_ca(pem: str, where: str) -> None:
    """Raise UserError unless there are certificates in it, all of them whole, and no key."""
    if _PEM not in pem:
        raise UserError(f"{where} has no certificate", f"a file with {_PEM}")
    if "PRIVATE KEY-----" in pem:
        raise UserError(f"{where} has a private key, and all who may ask the swarm can read it there", "a file without")
    found = _CERTIFICATE.findall(pem)
    try:
        if len(found) != pem.count(_PEM):
            raise ValueError("one has no end")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="\n".join(found))
    except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: not ASCII
        raise UserError(f"{where} has a certificate that cannot be read: {error}", "copy the file once more") from error


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One table over another: tables in them likewise, all else is as above where it is there."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _over(below[key], above[key])
    return merged


def _parsed(values: Mapping[str, Any], file: Path) -> Settings:
    chosen = table.parse(Settings, values, str(file))
    for key, value, right, meant in _expected(chosen):
        if not right(value):
            raise UserError(f"{file}: {key} = {value!r} is not {meant}")
    _refuse_what_is_no_hash(chosen.users, file)
    return chosen


def _expected(chosen: Settings) -> Iterator[tuple[str, Any, Callable[[Any], Any], str]]:
    """Key, value, whether it can be, and what can be."""
    for key in ("keep_revisions", "web_replicas"):
        yield key, getattr(chosen, key), lambda number: number >= 1, "1 or more"
    port = chosen.gateway_port
    yield "gateway_port", port, lambda port: 1 <= port <= _HIGHEST_PORT, f"a port: 1 to {_HIGHEST_PORT}"
    kept, mail = chosen.prometheus, chosen.mail
    yield (
        "prometheus.retention_time",
        kept.retention_time,
        _or_empty(_lasts),
        'a duration such as "15d" or "1w3d", or ""',
    )
    yield "prometheus.retention_size", kept.retention_size, _or_empty(_has_size), 'a size such as "2GB", or ""'
    for key, one in (("to", mail.to), ("from", mail.from_)):
        yield f"mail.{key}", one, _or_empty(_addresses if key == "to" else _ADDRESS.fullmatch), "a mail address"
    cats = chosen.whiskers
    yield "whiskers.to", cats.to, _or_empty(_addresses), "a mail address"
    yield "whiskers.at", cats.at, _CLOCK.fullmatch, 'a time of the day such as "08:00"'
    yield "whiskers.time_zone", cats.time_zone, _is_time_zone, 'one such as "Europe/Berlin"'
    yield "whiskers.feed", cats.feed, _or_empty(_WEB.fullmatch), "an address that begins with https:// or http://"
    yield "mail.smarthost", mail.smarthost, _or_empty(_host_and_port), "HOST:PORT, e.g. smtp.example.org:587"


def _refuse_what_is_no_hash(users: Mapping[str, str], file: Path) -> None:
    """Raise UserError, without what stands there: it may be the password itself."""
    for name, hashed in users.items():
        if not USER.fullmatch(name):
            raise UserError(f"{file}: users: {name!r} is no name: letters, digits and . _ @ -")
        if not (found := _BCRYPT.fullmatch(hashed)):
            raise UserError(
                f"{file}: users.{name} is no bcrypt hash: $2b$, two digits, $ and 53 letters",
                f"python -m image user set {name}",
            )
        if int(found[1]) > _HIGHEST_COST:
            raise UserError(
                f"{file}: users.{name} is a hash of cost {int(found[1])}, too much work for a Pi: "
                f"{_HIGHEST_COST} at most",
                f"python -m image user set {name}",
            )


def _refuse_mail_that_cannot_be_sent(chosen: Settings, file: Path) -> None:
    mail, cats = chosen.mail, chosen.services.whiskers
    if cats and not (chosen.whiskers.to or mail.to):
        raise UserError(
            f"{file}: services.whiskers = true, and nobody gets a mail", "whiskers.to or mail.to = an address"
        )
    if (mail.to or cats) and not (mail.from_ and mail.smarthost):
        lacking = " and ".join(key for key in ("from", "smarthost") if not table.values(mail)[key])
        who = f"mail.to = {mail.to!r}" if mail.to else "services.whiskers = true"
        raise UserError(
            f"{file}: {who} needs {lacking} in [mail], too",
            'smarthost = "HOST:PORT" of the mail server, from = the sender\'s address; or '
            + ('to = "" for no mail' if mail.to else "whiskers = false"),
        )


def _or_empty(right: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: not text or right(text)


def _lasts(text: str) -> bool:
    return bool(_DURATION.fullmatch(text)) and any(digit in text for digit in "123456789")


def _has_size(text: str) -> bool:
    return bool(_SIZE.fullmatch(text)) and any(digit in text for digit in "123456789")


def _is_time_zone(text: str) -> bool:
    """The list is read from a thousand files: not for the one that is always in it, which most have."""
    return text == "UTC" or text in zoneinfo.available_timezones()


def _addresses(text: str) -> bool:
    return all(_ADDRESS.fullmatch(one.strip()) for one in text.split(","))


def _host_and_port(text: str) -> bool:
    found = _HOST_PORT.fullmatch(text)
    return found is not None and 1 <= int(found[1]) <= _HIGHEST_PORT
