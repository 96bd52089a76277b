"""The pictures of README and docs/, made by the tests' own browser: `make pictures`.

The measurements are made up, so that the pictures do not change with the machine that makes them.
"""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import yaml
from playwright.sync_api import Browser

from image import plan
from image.builder import web_ui
from image.stack import template
from tests.browser import chromium, visit
from tests.commands import ROOT
from tests.mail import filled_in
from tests.stack.shelf import PI1, PI2, PI3, Shelf, served

SHELF = Shelf(pis=(PI1, PI2, PI3))


def _page(browser: Browser, url: str, file: Path, *, height: int, **context: object) -> None:
    with visit(browser, url, height=height, **context) as seen:
        seen.wait("html.good #pis svg")
        seen.page.screenshot(path=file, animations="disabled")


def _graph(browser: Browser, url: str, file: Path) -> None:
    """Prometheus' own interface with the load of each Pi."""
    words = {"g0.expr": "node_load1", "g0.tab": "graph", "g0.range_input": "6h"}
    with visit(browser, f"{url}query?{urlencode(words)}", width=1100, height=970) as seen:
        seen.wait(".uplot canvas")
        seen.page.wait_for_timeout(1000)  # until it is painted; it keeps a request open, so the network is never idle
        seen.page.screenshot(path=file, animations="disabled")


def _mail(browser: Browser, file: Path, folder: Path) -> None:
    """The mail that tells of a Pi that is gone, in the words of the stack's own rule and template."""
    rules = yaml.safe_load((template.FOLDER / "configs" / "rules.yml").read_text())
    (rule,) = (one for group in rules["groups"] for one in group["rules"] if one.get("alert") == "NodeGone")
    labels = {"alertname": "NodeGone", "node": "pi3", "cluster": "shelf"}
    told = {key: text.replace("{{ $labels.node }}", labels["node"]) for key, text in rule["annotations"].items()}
    alert = {"status": "firing", "labels": labels, "annotations": told, "startsAt": "2026-03-01T14:02:00Z"}
    url = "https://192.168.1.11/alertmanager"
    alerts = json.dumps({"status": "firing", "externalURL": url, "commonLabels": labels, "alerts": [alert]})
    shown = folder / "mail.html"
    subject = filled_in("subject", alerts, folder).strip()
    heading = f"<p>Subject: <b>{html.escape(subject)}</b></p><hr>"
    shown.write_text(filled_in("html", alerts, folder).replace("<h1", f"{heading}<h1", 1))
    with visit(browser, shown.as_uri(), width=700, height=320) as seen:
        seen.page.screenshot(path=file, animations="disabled", full_page=True)


def main() -> int:
    """Write docs/page.png, docs/page-dark.png, docs/graph.png and docs/mail.png."""
    (prometheus,) = plan.read(("prometheus",))
    assert prometheus.about.go
    assert prometheus.about.web_ui
    docs = ROOT / "docs"
    with TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        # Prometheus looks for its web interface in ./static.
        (folder / "static").symlink_to(web_ui.built(prometheus, prometheus.about.go, prometheus.about.web_ui))
        _mail(browser, docs / "mail.png", folder)
        with served(SHELF, folder, cluster="shelf", node="pi2") as site:
            _page(browser, site.url, docs / "page.png", height=1000)
            _page(browser, site.url, docs / "page-dark.png", width=390, height=844, color_scheme="dark")
            _graph(browser, f"{site.prometheus}/prometheus/", docs / "graph.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
