"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """How a check ended, mildest first."""

    OK = "ok"
    NOT_APPLICABLE = "not applicable"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAILURE = "failure"


_ORDER: Final = tuple(Status)
EXIT_CODES: Final = {Status.OK: 0, Status.WARNING: 1, Status.FAILURE: 2}


@dataclass(frozen=True)
class Finding:
    """One check's answer for one host. An `OK` with a `why` is worth a note."""

    status: Status
    value: str
    why: str = ""
    fix: str = ""


def ok(value: str, note: str = "") -> Finding:
    """As it should be."""
    return Finding(Status.OK, value, note)


def warning(value: str, why: str, fix: str) -> Finding:
    """It works, and something will be missing or break."""
    return Finding(Status.WARNING, value, why, fix)


def failure(value: str, why: str, fix: str) -> Finding:
    """It does not work, or is open to strangers."""
    return Finding(Status.FAILURE, value, why, fix)


def unknown(why: str, fix: str = "") -> Finding:
    """Nobody can tell."""
    return Finding(Status.UNKNOWN, "", why, fix)


def not_applicable(why: str) -> Finding:
    """There is nothing to check."""
    return Finding(Status.NOT_APPLICABLE, "", why)


def together(findings: Iterable[Finding | None], otherwise: Finding) -> Finding:
    """Several troubles of one check as one finding, as bad as the worst; `otherwise` where there is none."""
    found = [finding for finding in findings if finding]
    if not found:
        return otherwise
    return Finding(
        max((finding.status for finding in found), key=_ORDER.index),
        "; ".join(finding.value for finding in found if finding.value),
        "; ".join(finding.why for finding in found),
        "; ".join(dict.fromkeys(finding.fix for finding in found if finding.fix)),
    )


def verdict(findings: Iterable[Finding]) -> Status:
    """The worst of all; what is unknown or does not apply is no reason for worry."""
    found = {finding.status for finding in findings}
    return next((status for status in (Status.FAILURE, Status.WARNING) if status in found), Status.OK)
