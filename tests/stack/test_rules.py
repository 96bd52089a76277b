"""The alert rules: promtool runs each one's unit test, and no rule is without one, or without its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from image.run import run
from tests.checkers import checker

ROOT = Path(__file__).resolve().parents[2]
TESTS = sorted((Path(__file__).parent / "rules").glob("*.yml"))
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "stack" / "configs" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
STACK = (ROOT / "stack" / "stack.yml.j2").read_text()
DOCS = (ROOT / "docs" / "alerts.md").read_text()


def asked(fires: bool) -> Iterator[str]:
    """The alerts that some unit test wants to fire, or not to."""
    for file in TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for expression in test["promql_expr_test"]:
                if bool(expression["exp_samples"]) == fires:
                    yield from re.findall(r'alertname="(\w+)"', expression["expr"])


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_fire_when_they_should_and_only_then(file: Path) -> None:
    assert "SUCCESS" in run(checker("prometheus", "promtool"), "test", "rules", file)


def test_every_alert_is_tested_for_when_it_fires_and_for_when_it_does_not() -> None:
    assert set(asked(fires=True)) == set(RULES)
    assert set(asked(fires=False)) == set(RULES) - {"Watchdog"}  # this one always fires


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_more_is(name: str) -> None:
    rule = RULES[name]
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in ("page", "warning", "info", "none")
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
    # a subject of a mail, without what is filled in, and sentences for its body
    assert len(re.sub(r"\{\{.*?\}\}", "", rule["annotations"]["summary"])) < 70
    assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if "by (node" in rule["expr"]])
def test_an_alert_about_a_pi_names_it_first(name: str) -> None:
    summary = RULES[name]["annotations"]["summary"]
    assert name in ("MailNotDelivered", "TargetMissing", "PrometheusLosesData") or summary.startswith(
        "{{ $labels.node }}"
    )


def test_what_fired_goes_on_firing_when_prometheus_restarts() -> None:
    """Prometheus remembers what waited or fired only where `for` is at least as long as the grace period."""
    (grace,) = re.findall(r"--rules\.alert\.for-grace-period=(\d+)m\n", STACK)
    waits = {name: rule["for"] for name, rule in RULES.items() if "for" in rule}
    seconds = {"m": 60, "h": 3600, "d": 86400}
    assert {name for name, wait in waits.items() if int(wait[:-1]) * seconds[wait[-1]] < int(grace) * 60} == set()


def test_the_docs_have_a_paragraph_for_each_alert_and_for_nothing_else() -> None:
    assert re.findall(r"^### (\w+)$", DOCS, re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("name", [name for name in RULES if name != "Watchdog"])
def test_a_paragraph_has_commands_to_paste(name: str) -> None:
    paragraph = DOCS.partition(f"### {name}\n")[2].partition("\n### ")[0]
    assert "```console\n$ " in paragraph
