"""The table on values."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from doctor import table
from doctor.finding import EXIT_CODES, Finding, Status, failure, not_applicable, ok, together, unknown, verdict, warning
from doctor.report import Report

MIXED = Report(
    {
        "pi1": {
            "clock": ok("right"),
            "mtu": warning("1400", "too small", "make it larger"),
            "model": unknown("virtual"),
            "swarm": failure("lost", "no manager", "bring one"),
        },
        "pi2": {
            "clock": ok("right", "a note"),
            "mtu": warning("1400", "too small", "make it larger"),
            "model": unknown("virtual"),
            "swarm": not_applicable("none yet"),
        },
    }
)


def shown(report: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **env: str) -> str:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    table.show(report)
    return capsys.readouterr().out


def test_a_row_a_check_a_column_a_host_and_each_trouble_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [" ".join(line.split()) for line in shown(MIXED, capsys, monkeypatch).splitlines()]
    assert lines[0] == "check pi1 pi2"
    assert "mtu warning: 1400 warning: 1400" in lines
    assert "swarm failure: lost not applicable" in lines
    troubles = lines[lines.index("failure · swarm · pi1: lost") :]
    assert troubles[:6] == [
        "failure · swarm · pi1: lost",
        "why: no manager",
        "fix: bring one",
        "warning · mtu · pi1, pi2: 1400",
        "why: too small",
        "fix: make it larger",
    ]
    assert troubles[troubles.index("Worth knowing:") + 1] == "clock · pi2: a note"
    assert troubles[troubles.index("Not known:") + 1] == "model · pi1, pi2: virtual"
    assert lines[-1] == "Overall: failures"


def test_hosts_that_do_not_fit_get_a_table_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Report({f"pi{number}": {"clock": ok("right")} for number in range(1, 6)})
    lines = shown(many, capsys, monkeypatch, COLUMNS="80").splitlines()
    heads = [line.split() for line in lines if line.startswith("check")]
    assert heads == [["check", "pi1", "pi2"], ["check", "pi3", "pi4"], ["check", "pi5"]]
    assert all(len(line) <= 80 for line in lines)


def test_long_advice_stays_on_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    long = "run `" + "words " * 60 + "`"
    assert long in shown(Report({"pi1": {"mtu": warning("1", "2", long)}}), capsys, monkeypatch, COLUMNS="60")


def test_colours_are_for_terminals_and_never_with_no_color(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" not in shown(MIXED, capsys, monkeypatch)
    assert "\x1b[31m" in shown(MIXED, capsys, monkeypatch, FORCE_COLOR="1", TERM="xterm").replace(
        "\x1b[1;31m", "\x1b[31m"
    )
    assert "\x1b[31m" not in shown(MIXED, capsys, monkeypatch, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm")


def test_the_report_for_machines_has_every_finding() -> None:
    said = json.loads(json.dumps(MIXED.as_json()))
    assert said["verdict"] == "failure"
    assert said["hosts"]["pi1"]["mtu"] == {
        "status": "warning", "value": "1400", "why": "too small", "fix": "make it larger"
    }  # fmt: skip
    assert set(said["hosts"]) == {"pi1", "pi2"}


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], Status.OK),
        ([unknown("x"), not_applicable("y"), ok("z")], Status.OK),
        ([ok("z"), warning("a", "b", "c")], Status.WARNING),
        ([failure("a", "b", "c"), warning("a", "b", "c")], Status.FAILURE),
    ],
)
def test_the_worst_finding_decides(findings: list[Finding], expected: Status) -> None:
    assert verdict(findings) is expected
    assert EXIT_CODES[expected] == ["ok", "warning", "failure"].index(expected)


def test_several_troubles_of_a_check_are_one_as_bad_as_the_worst() -> None:
    one = together([warning("a", "b", "c"), None, failure("d", "e", "c")], otherwise=ok("fine"))
    assert one == Finding(Status.FAILURE, "a; d", "b; e", "c")
    assert together([None], otherwise=ok("fine")) == ok("fine")


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
FINDINGS: st.SearchStrategy[Mapping[str, Finding]] = st.fixed_dictionaries(
    {"a": st.builds(Finding, st.sampled_from(Status), TEXT, TEXT, TEXT)}
)


@given(st.dictionaries(st.sampled_from(["pi1", "pi2"]), FINDINGS, min_size=1), st.integers(20, 200))
def test_any_words_of_a_host_are_shown_as_they_are(found: Mapping[str, Mapping[str, Finding]], width: int) -> None:
    file = io.StringIO()
    table._show(Report(found), Console(file=file, width=width, highlight=False, markup=False, emoji=False))
    for checks in found.values():
        for finding in checks.values():
            if finding.status in (Status.WARNING, Status.FAILURE):
                assert f"why: {finding.why}" in file.getvalue()
