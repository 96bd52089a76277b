"""Certificates, and whom the engine answers."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from doctor.checks.advice import PROVISION
from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, failure, not_applicable, ok, together, unknown, warning
from facts.engine import Engine
from facts.links import Links
from facts.runtime import Runtime
from facts.tls import Tls
from pki.certificate import Certificate, shared

_PLAIN_PORT = 2375
_RENEWAL = dt.timedelta(days=30)
_NONE = "no certificate yet"


def certificate(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether the engine's certificate is good, and for how long."""
    state = host.read(Tls)
    if not state.server_certificate:
        return _missing(host, "server-cert.pem")
    try:
        found = Certificate.read(state.server_certificate)
    except ValueError as error:
        return failure("not readable", f"server-cert.pem is damaged: {error}", PROVISION)
    return together(_objections(host, evidence, found), ok(f"until {found.ends:%Y-%m-%d}"))


def _missing(host: HostEvidence, file: str) -> Finding:
    """What is said of a file that is not there: nothing, unless the engine is told to read it at its next start."""
    if "tlscert" not in (host.read(Engine).daemon_json or {}):
        return not_applicable(_NONE)
    return failure("missing", f"{file} is gone, and the engine will not start again without it", PROVISION)


def _objections(host: HostEvidence, evidence: Evidence, found: Certificate) -> Iterator[Finding]:
    state = host.read(Tls)
    if not found.signed_by(state.ca):
        yield failure("not by its CA", "the CA that its engine trusts did not sign it", PROVISION)
    if found.public_key != state.public_key:
        yield failure("not of its key", "it was made for another key than server-key.pem", PROVISION)
    if missing := sorted({host.name, host.address} - found.names):
        yield failure(
            f"not for {', '.join(missing)}",
            f"it speaks for {', '.join(sorted(found.names)) or 'nobody'}; clients refuse it for the inventory's"
            f" {' and '.join(missing)}",
            PROVISION,
        )
    yield from _life(found, evidence.now, PROVISION)


def _life(found: Certificate, now: dt.datetime, fix: str) -> Iterator[Finding]:
    if found.ends <= now:
        yield failure(f"expired {found.ends:%Y-%m-%d}", "nobody accepts it any more", fix)
    elif found.ends - now < _RENEWAL:
        yield warning(f"until {found.ends:%Y-%m-%d}", f"{(found.ends - now).days} days are left", fix)
    if found.begins > now:
        yield failure(f"from {found.begins:%Y-%m-%d %H:%M}", "it is not valid yet; a clock is or was wrong", fix)


def authority(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether the CA that the engine trusts is this cluster's, and for how long."""
    trusted = host.read(Tls).ca
    if not trusted:
        return not_applicable(_NONE)
    try:
        found = Certificate.read(trusted)
    except ValueError as error:
        return failure("not readable", f"ca.pem is damaged: {error}", PROVISION)
    others = sorted(name for name, state in evidence.all(Tls).items() if state.ca and not shared(state.ca, trusted))
    return together(
        _strange(trusted, evidence.ca, others, found, evidence.now),
        ok(f"until {found.ends:%Y-%m-%d}", "" if evidence.ca else "this computer has no CA to compare it with"),
    )


def _strange(trusted: str, ours: str, others: list[str], found: Certificate, now: dt.datetime) -> Iterator[Finding]:
    if ours and not shared(ours, trusted):
        yield failure(
            "another CA",
            "the engine trusts another CA than the one in .cluster/, so it refuses this computer",
            PROVISION,
        )
    elif others:
        yield failure("hosts differ", f"{', '.join(others)} trusts another CA", PROVISION)
    yield from _life(found, now, "`pyinfra inventory.py deploys/rotate_ca.py` moves the cluster to a new CA")


def private_key(host: HostEvidence, _: Evidence) -> Finding:
    """Whether only root reads the engine's key."""
    mode = host.read(Runtime).key_mode
    if not mode:
        return _missing(host, "server-key.pem")
    if not re.fullmatch(r"\d+00 root", mode):
        return failure(
            mode,
            "others than root can read the key, and be this engine",
            f"`rm /etc/docker/tls/server-key.pem` there, then {PROVISION}: a new key is made",
        )
    return ok(mode)


def api(host: HostEvidence, _: Evidence) -> Finding:
    """Whether 2376 answers the cluster's certificate and nobody else."""
    door, engine = host.door, host.read(Engine)
    if door is None:
        return unknown("it was not tried")
    if door.stranger == "served":
        return failure(
            "open to all",
            "it answered this computer without a certificate: whoever reaches the port is root on this host",
            f'"tlsverify": true in /etc/docker/daemon.json; {PROVISION}',
        )
    if door.stranger == "silent":
        return unknown("nothing answers this computer; a firewall on the way, or another network")
    if door.stranger == "closed":
        if engine.active:
            return warning("closed", "the engine does not listen, so `docker --context` does not reach it", PROVISION)
        return not_applicable("no engine runs")
    if door.owner:
        return warning("refuses us", f"it refuses strangers, and this cluster's certificate: {door.owner}", PROVISION)
    return ok("certificates only")


def plain_api(host: HostEvidence, _: Evidence) -> Finding:
    """Whether 2375 is open, where the engine's API asks for nothing."""
    served = host.door is not None and host.door.plain == "served"
    open_to = [each for each in host.read(Links).listeners if each.port == _PLAIN_PORT]
    fix = f"remove tcp://…:{_PLAIN_PORT} from daemon.json and from the unit's drop-ins; {PROVISION}"
    if served or any(not each.local for each in open_to):
        why = "it answered this computer" if served else "something listens on all addresses"
        return failure("open", f"{why}: whoever reaches the port is root on this host", fix)
    if open_to:
        return warning("open locally", "every program on this host can be root through it", fix)
    return ok("closed")
