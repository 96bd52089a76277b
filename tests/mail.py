"""Mails: those that Alertmanager would send, and those that the lab's mail server got."""

from __future__ import annotations

import mailbox
from contextlib import closing
from email.message import Message
from pathlib import Path

from image.run import run
from image.stack import template
from tests.checkers import checker
from tests.commands import Lab

_TEMPLATE = template.FOLDER / "configs" / "alertmanager_mail.txt"


def filled_in(part: str, alerts: str, folder: Path) -> str:
    """One part of a mail, as Alertmanager's own template engine makes it.

    Args:
        part: subject, text or html.
        alerts: what Alertmanager would tell of, in its webhooks' JSON.
        folder: where a file may be written.
    """
    data = folder / "alerts.json"
    data.write_text(alerts)
    words = (
        f"--template.glob={_TEMPLATE}",
        f'--template.text={{{{ template "pishelf.{part}" . }}}}',
        f"--template.type={'html' if part == 'html' else 'text'}",
    )
    return run(checker("alertmanager", "amtool"), "template", "render", f"--template.data={data}", *words)


def delivered(lab: Lab, folder: Path) -> list[Message]:
    """All that the mail server of a lab got; `folder` is where a file may be written."""
    box = folder / "mbox"
    box.write_text(lab.python("lab", "mail", "--read").ok())
    with closing(mailbox.mbox(box)) as kept:
        return list(kept)
