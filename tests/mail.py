"""The mails that Alertmanager would send, as its own template engine makes them."""

from __future__ import annotations

from pathlib import Path

from image import template
from image.run import run
from tests.checkers import checker

_TEMPLATE = template.FOLDER / "configs" / "alertmanager_mail.txt"


def filled_in(part: str, alerts: str, folder: Path) -> str:
    """One part of a mail.

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
