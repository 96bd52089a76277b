"""Whiskers as its owner meets it: the mail, in the lab's own mail server, and what Prometheus knows of it."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from image.stack import template
from tests.commands import Lab, command, until
from tests.image.clone import Clone
from tests.mail import delivered

# The smallest GIF: one pixel.
PICTURE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


@pytest.fixture
def wanted(clone: Clone, stack: Lab) -> Iterator[Clone]:
    """A clone whose settings want a cat a day, from midnight on, by the lab's mail server."""
    server = stack.python("lab", "mail").ok()
    for line in server.splitlines():
        key = line.partition(" = ")[0]
        if key in ("to", "from", "smarthost", "username", "ca"):
            clone.edit("stack/settings.toml", f'\n{key} = ""', f"\n{line}")
    shutil.copytree(stack.folder / "mail", clone.folder / "stack" / "mail")
    clone.edit("stack/settings.toml", "\nwhiskers = false", "\nwhiskers = true")
    clone.edit("stack/settings.toml", 'at = "08:00"', 'at = "00:00"')
    clone.image("secret", "set", "smtp_password", given=(stack.folder / "mail" / "password").read_text()).ok()
    yield clone
    stack.image("deploy").ok()
    stack.image("secret", "rm", "smtp_password").ok()
    node = "pi2"  # Prometheus' data are there, and the cat's
    until(lambda: stack.on(node, "docker", "volume", "rm", "--force", "shelf_whiskers").code == 0)


def cats(lab: Lab, folder: Path) -> list[Message]:
    """The mails that the server got from Whiskers."""
    return [letter for letter in delivered(lab, folder) if (letter["Subject"] or "").startswith("Your cat of ")]


def value(lab: Lab, text: str) -> float:
    """The one number that Prometheus, asked by the gateway, has for a query; -1 where it has none."""
    found = lab.query(text)
    return float(found[0]["value"][1]) if found else -1


def test_a_cat_arrives_once_a_day_and_prometheus_knows(stack: Lab, wanted: Clone, tmp_path: Path) -> None:
    wanted.image("build-all").ok()  # without a name: it is on in this clone's settings
    wanted.image("deploy").ok()
    before = len(cats(stack, tmp_path))
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "tom.gif").write_bytes(PICTURE)
    at = f"tcp://{stack.address('pi2')}:2376"
    engine = {"DOCKER_HOST": at, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(stack.folder)}
    container = command("docker", "ps", "--quiet", "--filter", "name=shelf_whiskers", **engine).ok().strip()
    command("docker", "cp", tmp_path / "cats", f"{container}:/data", **engine).ok()
    until(lambda: len(cats(stack, tmp_path)) == before + 1, 240)  # it tries again after one minute, then after two
    letter = cats(stack, tmp_path)[-1]
    assert letter["To"] == "<owner@example.org>"
    (picture,) = (part for part in letter.walk() if part.get_filename() == "tom.gif")
    assert picture.get_payload(decode=True) == PICTURE
    until(lambda: value(stack, 'whiskers_mails_sent_total{node="pi2"}') == 1)

    stack.docker("service", "update", "--force", "--detach", "shelf_whiskers").ok()
    until(lambda: value(stack, 'whiskers_mails_sent_total{node="pi2"}') == 0, 180)  # the new task's
    assert value(stack, "whiskers_next_mail_timestamp_seconds") > time.time(), "it remembers today's"
    assert len(cats(stack, tmp_path)) == before + 1
    secret = (stack.folder / "mail" / "password").read_text().strip()
    assert secret not in stack.image("logs", "whiskers").ok()


def test_grafanas_dashboard_has_data_in_each_panel(stack: Lab) -> None:
    """But for the temperature: virtual Pis have no sensor."""
    dashboard = json.loads((template.FOLDER / "configs" / "grafana_shelf.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$node", ".+").replace("$__rate_interval", "1m")
            if panel["title"] == "Temperature":
                stack.query(text)  # Prometheus understands it
            else:
                until(lambda text=text: value(stack, f"count(count by (node) ({text}))") == 3, 120)
