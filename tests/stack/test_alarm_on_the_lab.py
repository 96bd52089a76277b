"""What the owner learns when things break: seen in Prometheus, on the page, and in mail from a real mail server.

The tests follow one another, as the cluster's day does: it is well, it breaks in several ways at once, it is repaired.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.commands import Found, Lab, command, until
from tests.conftest import NAME
from tests.mail import delivered
from tests.stack.test_page_on_the_lab import page

QUIET = 150  # seconds; longer than most alerts wait before they fire
PATIENCE = 600  # what is over goes on firing for five minutes
BROKEN = {"NodeGone", "TaskCrashLooping", "DiskFull"}


@pytest.fixture(scope="module")
def watched(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three Pis with the stack, a mail server beside them, and a wrong password for it in the swarm."""
    with Lab(f"{NAME}-watched").fresh(3) as lab:
        lab.provision().ok()
        settings = lab.python("lab", "mail").ok()
        (lab.folder / "settings.toml").write_text(settings)
        lab.image("build-all").ok()
        wrong = tmp_path_factory.mktemp("wrong") / "password"
        wrong.write_text("not the password")
        store(lab, wrong)
        lab.image("deploy").ok()
        yield lab


def store(lab: Lab, file: Path) -> None:
    """Give the swarm the password that is in a file, as a person does."""
    script = 'exec "$0" -m image --context "$1" secret set smtp_password <"$2"'
    command("sh", "-c", script, sys.executable, lab.name, file).ok()


def ask(lab: Lab, path: str, **parameters: str | float) -> Any:
    """Ask Prometheus' API from within its own network, where no gateway stands between."""
    task = 'docker inspect --format "{{.State.Pid}}" $(docker ps -q --filter name=shelf_prometheus)'
    url = f"http://127.0.0.1:9090/prometheus/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    said = lab.on("pi2", "sh", "-c", f'nsenter -t "$({task})" -n curl -fsS "$0"', url).ok()
    return json.loads(said)["data"]


def query(lab: Lab, text: str) -> list[dict[str, Any]]:
    return list(ask(lab, "query", query=text)["result"])


def fired(lab: Lab) -> set[str]:
    """All alerts that fired since Prometheus was started, but for the watchdog."""
    (start,) = query(lab, 'process_start_time_seconds{job="prometheus"}')
    firing = 'ALERTS{alertstate="firing", alertname!="Watchdog"}'
    found = ask(lab, "query_range", query=firing, start=float(start["value"][1]), end=time.time(), step=15)
    return {one["metric"]["alertname"] for one in found["result"]}


def firing(lab: Lab) -> dict[str, dict[str, Any]]:
    """Name -> alert, of those that fire now, as the page gets them."""
    return {alert["labels"]["alertname"]: alert for alert in ask(lab, "alerts")["alerts"] if alert["state"] == "firing"}


def letters(lab: Lab, folder: Path) -> dict[str, Message]:
    """Subject -> letter, of all that the mail server got."""
    return {str(letter["Subject"]): letter for letter in delivered(lab, folder)}


def text(letter: Message, kind: str = "plain") -> str:
    (part,) = (part for part in letter.walk() if part.get_content_type() == f"text/{kind}")
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def eventually(look: Callable[[], Found]) -> Found:
    """Alerts take their time, and each look starts programs."""
    return until(look, PATIENCE, pause=3)


def send(lab: Lab, password: str | None, tls: bool = True) -> None:
    """Send a letter as any program would."""
    ca = lab.folder / "mail" / "ca.pem"
    server = next(
        line.partition('"')[2].partition(":")[0] for line in settings_of(lab).splitlines() if "smarthost" in line
    )
    with smtplib.SMTP(server, 587, timeout=30) as session:
        if tls:
            session.starttls(context=ssl.create_default_context(cafile=str(ca)))
        if password:
            session.login("shelf", password)
        session.sendmail("ann@example.org", ["bob@example.org"], "Subject: hello\n\nhello\n")


def settings_of(lab: Lab) -> str:
    return (lab.folder / "settings.toml").read_text()


def test_the_mail_server_refuses_who_speaks_in_clear_and_who_has_no_right_password(watched: Lab) -> None:
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
        send(watched, None, tls=False)
    with pytest.raises(smtplib.SMTPSenderRefused, match="AUTH"):
        send(watched, None)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(watched, "not the password")


def test_the_mail_server_is_no_node_of_the_lab(watched: Lab) -> None:
    assert [one["name"] for one in json.loads(watched.python("lab", "status", "--json").ok())] == ["pi1", "pi2", "pi3"]


def test_a_healthy_cluster_is_quiet(watched: Lab, tmp_path: Path) -> None:
    eventually(lambda: len(query(watched, 'up{job="node"} == 1')) == 3)
    eventually(lambda: query(watched, f'time() - process_start_time_seconds{{job="prometheus"}} > {QUIET}'))
    assert fired(watched) == set()
    assert firing(watched).keys() == {"Watchdog"}
    # nor one that only waits to: many wait for longer than this test does
    assert query(watched, 'count_over_time(ALERTS{alertstate="pending"}[2m]) >= 8') == []
    assert letters(watched, tmp_path) == {}
    # the rules saw what they look for
    assert {one["metric"]["node"] for one in query(watched, "pishelf:member_ready == 1")} == {"pi1", "pi2", "pi3"}


def test_a_dead_pi_a_full_disk_and_a_service_that_crashes_are_seen_and_so_is_the_wrong_password(watched: Lab) -> None:
    command("docker", "kill", f"{watched.name}-pi3").ok()
    fill = "mkdir -p /mnt/card && mount -t tmpfs -o size=8m card /mnt/card && head -c 8m /dev/zero >/mnt/card/full"
    watched.on("pi1", "sh", "-c", fill).ok()
    image = watched.docker(
        "service", "inspect", "shelf_node_exporter", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}"
    )
    options = ("--detach", "--name", "crasher", "--constraint", "node.hostname==pi2", "--restart-delay", "1s")
    watched.docker("service", "create", *options, image.ok().strip(), "--no-such-option").ok()

    eventually(lambda: {*BROKEN, "MailNotDelivered"} <= firing(watched).keys())
    found = firing(watched)
    assert found["NodeGone"]["labels"]["node"] == "pi3"
    assert found["DiskFull"]["labels"]["node"] == "pi1"
    assert found["DiskFull"]["annotations"]["summary"].startswith("pi1: /mnt/card is full, ")
    assert found["TaskCrashLooping"]["labels"]["service"] == "crasher"
    # no other alarm; the fallen node's tasks may be short of a place meanwhile
    assert fired(watched) <= {*BROKEN, "MailNotDelivered", "ServiceShort"}


def test_the_page_tells_all_of_it_and_commands_end_with_an_error(watched: Lab) -> None:
    with page(watched) as seen:
        alerts = seen.page.locator("#alerts")
        for words in ("pi3 is gone", "crasher crashes again and again", "pi1: /mnt/card is full", "mail"):
            expect(alerts).to_contain_text(words)
        expect(seen.page.locator("#verdict")).not_to_contain_text("well")
        expect(seen.page.locator("#pis tbody tr.gone th b")).to_have_text("pi3")
        assert seen.complaints == []
    watched.image("prove").refused("not ready: pi3")
    watched.image("status").refused("pi3", "down")
    doctor = watched.pyinfra("lab/inventory.py", "deploys/doctor.py")
    assert (doctor.code, "pi3" in doctor.said) == (2, True), doctor.said


def test_with_the_right_password_the_mails_arrive_and_say_which_pi_and_what_to_do(watched: Lab, tmp_path: Path) -> None:
    store(watched, watched.folder / "mail" / "password")
    watched.image("deploy").ok()
    subject = f"pishelf {watched.name}: pi3 is gone"
    wanted = {
        subject,
        f"pishelf {watched.name}: crasher crashes again and again",
        f"pishelf {watched.name}: pi1: /mnt/card is full, 0B are left",
    }
    found = eventually(lambda: wanted <= (box := letters(watched, tmp_path)).keys() and box)
    letter = found[subject]
    assert (letter["From"], letter["To"]) == ("shelf@example.org", "owner@example.org")
    for words in ("power and network", "docs/alerts.md#nodegone", f"https://{watched.address('pi1')}/", " UTC"):
        assert words in text(letter)
        assert words in text(letter, "html")


@pytest.mark.timeout(PATIENCE + 120)
def test_the_end_of_each_is_mailed_too(watched: Lab, tmp_path: Path) -> None:
    command("docker", "start", f"{watched.name}-pi3").ok()
    watched.on("pi1", "umount", "/mnt/card").ok()
    watched.docker("service", "rm", "crasher").ok()
    wanted = {
        f"pishelf {watched.name}: over: pi3 is gone",
        f"pishelf {watched.name}: over: pi1: /mnt/card is full, 0B are left",
        f"pishelf {watched.name}: over: crasher crashes again and again",
    }
    found = eventually(lambda: wanted <= (box := letters(watched, tmp_path)).keys() and box)
    assert "Over: pi3 is gone" in text(found[f"pishelf {watched.name}: over: pi3 is gone"])
