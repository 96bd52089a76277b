"""What `render` hands out, judged by the programs that will read it: promtool and amtool of the same versions."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from image import settings
from image.run import run
from image.settings import Mail, Settings
from image.stack import template
from tests.checkers import checker
from tests.mail import filled_in
from tests.stack.test_rules import RULES
from tests.stack.test_stack import CLUSTER, IMAGES

OFF = settings.read()
MAIL = Mail("ann@example.org, bob@example.org", "pi@example.org", "smtp.example.org:587", "ann", "")
ON = replace(OFF, mail=MAIL, services=replace(OFF.services, whiskers=False))
CHOICES = {
    "mail off": OFF,
    "mail on": ON,
    "mail without a login": replace(ON, mail=replace(MAIL, username="")),
    "mail with characters of YAML's own": replace(
        ON, mail=replace(MAIL, to="a'b{{c}}: #d@example.org", username='pi"\\ # {{ x }}: y')
    ),
}


def rendered(chosen: Settings) -> dict[str, Any]:
    values = template.variables(CLUSTER, IMAGES, chosen, {"smtp_password": "shelf_smtp_password-0123"})
    return {"values": values, "compose": yaml.safe_load(template.render(values))}


def handed_out(chosen: Settings, service: str, folder: Path) -> Path:
    """Lay a service's configs out below `folder` as the swarm does in its container, but for what it fills in."""
    both = rendered(chosen)
    data = {config.key: config.data for config in both["values"]["configs"]}
    for config in both["compose"]["services"][service]["configs"]:
        path = folder / config["target"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = data[config["source"]].decode()
        path.write_text(text.replace('{{ env "NODE" }}', "pi1"))
    return folder


@pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES)
def test_prometheus_can_read_its_settings_and_rules(chosen: Settings, tmp_path: Path) -> None:
    file = handed_out(chosen, "prometheus", tmp_path) / "etc/prometheus/prometheus.yml"
    said = run(checker("prometheus", "promtool"), "check", "config", "--lint=all", "--lint-fatal", file, both=True)
    assert re.search(r"rules\.yml\s.*SUCCESS: \d+ rules found", said, re.DOTALL)
    assert "1 rule files found" in said


@pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES)
def test_alertmanager_can_read_its_settings_and_mails(chosen: Settings, tmp_path: Path) -> None:
    file = handed_out(chosen, "alertmanager", tmp_path) / "etc/alertmanager/alertmanager.yml"
    said = run(checker("alertmanager", "amtool"), "check-config", file, both=True)
    assert "SUCCESS" in said
    assert "1 templates" in said


def route(chosen: Settings, folder: Path, *labels: str) -> str:
    """Who gets an alert with these labels, as amtool says."""
    file = handed_out(chosen, "alertmanager", folder) / "etc/alertmanager/alertmanager.yml"
    amtool = checker("alertmanager", "amtool")
    return run(amtool, "config", "routes", "test", f"--config.file={file}", *labels).strip()


def test_pages_and_warnings_are_mailed_and_the_watchdog_tells_nobody(tmp_path: Path) -> None:
    assert route(ON, tmp_path, "alertname=NodeGone", "severity=page", "node=pi3") == "owner"
    assert route(ON, tmp_path, "alertname=Hot", "severity=warning") == "owner"
    assert route(ON, tmp_path, "alertname=RebootRequired", "severity=info") == "nobody"
    assert route(ON, tmp_path, "alertname=Watchdog", "severity=none") == "nobody"


def test_without_an_address_nobody_is_mailed(tmp_path: Path) -> None:
    assert route(OFF, tmp_path, "alertname=NodeGone", "severity=page") == "nobody"
    text = (tmp_path / "etc/alertmanager/alertmanager.yml").read_text()
    assert "smarthost" not in text
    assert "secrets" not in rendered(OFF)["compose"]


def test_mail_goes_over_tls_with_the_password_from_the_secret(tmp_path: Path) -> None:
    file = handed_out(ON, "alertmanager", tmp_path) / "etc/alertmanager/alertmanager.yml"
    (owner,) = (one for one in yaml.safe_load(file.read_text())["receivers"] if one["name"] == "owner")
    (mail,) = owner["email_configs"]
    assert mail["require_tls"] is True
    assert "insecure_skip_verify" not in mail["tls_config"]
    assert Path(mail["auth_password_file"]) == Path("/run/secrets") / "smtp_password"
    compose = rendered(ON)["compose"]
    # of a mail's certificates Alertmanager takes no path relative to its settings
    assert mail["tls_config"]["ca_file"] in [one["target"] for one in compose["services"]["alertmanager"]["configs"]]
    (secret,) = compose["services"]["alertmanager"]["secrets"]
    assert (secret["source"], secret["uid"], secret["mode"]) == ("smtp_password", "65534", 0o400)
    assert compose["secrets"] == {"smtp_password": {"external": True, "name": "shelf_smtp_password-0123"}}


def test_without_a_login_no_secret_is_asked_for() -> None:
    assert "secrets" not in rendered(CHOICES["mail without a login"])["compose"]


def test_the_mail_server_is_trusted_by_its_own_ca_or_by_the_worlds(tmp_path: Path) -> None:
    private = handed_out(
        replace(ON, mail=replace(MAIL, ca="-----BEGIN CERTIFICATE-----\nours")), "alertmanager", tmp_path
    )
    assert (private / "etc/alertmanager/mail-ca.pem").read_text() == "-----BEGIN CERTIFICATE-----\nours\n"
    shutil.rmtree(private / "etc")
    world = handed_out(ON, "alertmanager", tmp_path) / "etc/alertmanager/mail-ca.pem"
    assert world.read_text().count("-----BEGIN CERTIFICATE-----") > 50
    # a swarm's limit for one config, before engine 25
    assert world.stat().st_size < 500_000


def test_where_nobody_gets_a_mail_the_worlds_cas_are_in_no_revision(tmp_path: Path) -> None:
    assert (handed_out(OFF, "alertmanager", tmp_path) / "etc/alertmanager/mail-ca.pem").read_text() == "\n"


def test_what_keeps_another_alert_quiet_and_what_is_kept_so_are_alerts_that_there_are(tmp_path: Path) -> None:
    """To amtool any name is fine, and one that is misspelt keeps nothing quiet."""
    file = handed_out(ON, "alertmanager", tmp_path) / "etc/alertmanager/alertmanager.yml"
    for rule in yaml.safe_load(file.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, names = re.fullmatch(r'(\w+) (?:=|!=|=~) "([\w|]+)"', matcher).groups()  # type: ignore[union-attr]
            assert label == "alertname"
            assert set(names.split("|")) <= set(RULES), matcher


ALERTS = """
{{"receiver": "owner", "status": "{status}", "externalURL": "https://198.18.0.11/alertmanager",
 "groupLabels": {{"alertname": "NodeGone", "node": "pi3"}},
 "commonLabels": {{"alertname": "NodeGone", "node": "pi3", "cluster": "attic"}},
 "alerts": [{{"status": "{status}", "labels": {{"node": "pi3"}}, "startsAt": "2026-03-01T14:02:00Z",
   "endsAt": "2026-03-01T14:22:00Z",
   "annotations": {{"summary": "pi3 is gone", "description": "Look <b>there</b>.",
     "runbook": "docs/alerts.md#nodegone"}}}}]}}
"""


def mail(tmp_path: Path, part: str, status: str) -> str:
    return filled_in(part, ALERTS.format(status=status), tmp_path)


def test_a_mail_names_the_pi_since_when_what_to_do_and_where_to_look(tmp_path: Path) -> None:
    assert mail(tmp_path, "subject", "firing").strip() == "pishelf attic: pi3 is gone"
    text = mail(tmp_path, "text", "firing")
    for words in ("told since Sunday 1 March 2026, 14:02 UTC", "Look <b>there</b>.", "docs/alerts.md#nodegone"):
        assert words in text
    assert "https://198.18.0.11/\n" in text
    page = mail(tmp_path, "html", "firing")
    assert "Look &lt;b&gt;there&lt;/b&gt;." in page
    assert 'href="https://198.18.0.11/"' in page


def test_the_end_is_mailed_with_both_times(tmp_path: Path) -> None:
    assert mail(tmp_path, "subject", "resolved").strip() == "pishelf attic: over: pi3 is gone"
    text = mail(tmp_path, "text", "resolved")
    assert "Over: pi3 is gone" in text
    assert "told from Sunday 1 March 2026, 14:02 UTC\nto Sunday 1 March 2026, 14:22 UTC" in text
