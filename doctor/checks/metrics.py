"""What a host tells of itself."""

from __future__ import annotations

from doctor.checks.advice import NO_ENGINE, PROVISION
from doctor.evidence import Evidence, HostEvidence
from doctor.finding import Finding, not_applicable, ok, warning
from facts.engine import Engine
from facts.metrics import UNIT, Metrics

_OLD = 60.0  # seconds; it writes each 15
_BLIND = "the page and the alerts know nothing of its power, its card and its engine"
_LOOK = f"`journalctl -u {UNIT}` there says why; {PROVISION}"


def metrics(host: HostEvidence, evidence: Evidence) -> Finding:
    """Whether the daemon writes what node_exporter does not know."""
    state = host.read(Metrics)
    if not evidence.metrics:
        return not_applicable("metrics = False in group_data/all.py")
    if not host.read(Engine).source:
        return not_applicable(NO_ENGINE)
    if not state.unit:
        return warning("not written", _BLIND, PROVISION)
    if not state.active:
        return warning("not running", _BLIND, _LOOK)
    if state.age is None or state.age > _OLD:
        value = "never written" if state.age is None else f"{state.age:.0f} s old"
        return warning(value, f"{_BLIND} of now: it runs, and stands still", _LOOK)
    if not state.enabled:
        return warning("not at boot", "it does not start when the host does", PROVISION)
    if state.stale:
        return warning("not up to date", "it was changed after it started", PROVISION)
    return ok("written")
