"""The report as people read it: a table, and under it what is wrong and how it is put right."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from doctor.finding import Finding, Status
from doctor.report import Report

_STYLES: Final = {
    Status.OK: "green",
    Status.NOT_APPLICABLE: "dim",
    Status.UNKNOWN: "cyan",
    Status.WARNING: "yellow",
    Status.FAILURE: "bold red",
}
_COLUMN, _FIRST = 26, 22  # characters that a host's column needs, and the checks' names
_FILE = 128  # characters of a line where no terminal says


def show(report: Report) -> None:
    """Print it to standard output; no colours where that is no terminal or NO_COLOR is set."""
    wide = sys.stdout.isatty() or "COLUMNS" in os.environ
    _show(report, Console(width=None if wide else _FILE, highlight=False, markup=False, emoji=False))


def _show(report: Report, console: Console) -> None:
    for hosts in _fitting(list(report.findings), console.width):
        _table(report, hosts, console)
    _troubles(report, console)
    _asides("Worth knowing", report, Status.OK, console)
    _asides("Not known", report, Status.UNKNOWN, console)
    words = {Status.OK: "fine", Status.WARNING: "warnings", Status.FAILURE: "failures"}
    _line(console, f"\nOverall: {words[report.verdict]}", _STYLES[report.verdict])


def _fitting(hosts: Sequence[str], width: int) -> Iterable[Sequence[str]]:
    """The hosts in as many tables as the width asks for."""
    at_once = max(1, (width - _FIRST) // _COLUMN)
    return (hosts[start : start + at_once] for start in range(0, len(hosts), at_once))


def _table(report: Report, hosts: Sequence[str], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("check", no_wrap=True)
    for host in hosts:
        table.add_column(host)
    for check in dict.fromkeys(check for check, _, _ in report.each()):
        cells = [report.findings[host][check] for host in hosts]
        table.add_row(check, *(Text(_cell(cell), style=_STYLES[cell.status]) for cell in cells))
    console.print(table)
    console.print()


def _cell(finding: Finding) -> str:
    return f"{finding.status}: {finding.value}" if finding.value else str(finding.status)


def _troubles(report: Report, console: Console) -> None:
    for status in (Status.FAILURE, Status.WARNING):
        for (check, finding), hosts in _alike(report, status).items():
            _line(console, f"{status} · {check} · {', '.join(hosts)}: {finding.value}", _STYLES[status])
            _line(console, f"  why: {finding.why}\n  fix: {finding.fix}")


def _alike(report: Report, status: Status) -> Mapping[tuple[str, Finding], list[str]]:
    """The hosts on which the same was found, so that it is said once."""
    found: dict[tuple[str, Finding], list[str]] = {}
    for check, host, finding in report.each():
        if finding.status is status:
            found.setdefault((check, finding), []).append(host)
    return found


def _asides(title: str, report: Report, status: Status, console: Console) -> None:
    """What is worth a line: hosts and checks with the same words in one."""
    lines: dict[tuple[str, str], list[str]] = {}
    for (check, finding), hosts in _alike(report, status).items():
        if finding.why:
            lines.setdefault((", ".join(hosts), finding.why), []).append(check)
    if lines:
        _line(console, f"\n{title}:")
    for (hosts_text, why), checks in lines.items():
        _line(console, f"  {', '.join(checks)} · {hosts_text}: {why}")


def _line(console: Console, text: str, style: str = "") -> None:
    """A line as it is: who copies a command out of it, or looks for one in a file, wants no line breaks in it."""
    console.print(text, style=style or None, soft_wrap=True)
