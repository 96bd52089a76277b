"""The page, as a browser without scripts gets it: the CGI is run by this machine's own shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

WWW = Path(__file__).resolve().parents[2] / "Busybox" / "root" / "www"
PAGE = WWW / "cgi-bin" / "index.cgi"


def serve(tmp_path: Path, **environment: str) -> str:
    """What the CGI prints; its tools are this machine's, for the script must not need more than POSIX' own."""
    script = tmp_path / "index.cgi"
    script.write_text(PAGE.read_text().replace("/bin/busybox ", ""))
    path = os.environ["PATH"]
    done = subprocess.run(["sh", script], env={"PATH": path, **environment}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


class Links(HTMLParser):
    """The addresses in a page, and whether every element that was opened was closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(autouse=True)
def _needs_hostname() -> None:
    if shutil.which("hostname") is None:
        pytest.skip("this machine has no `hostname`")


def test_the_page_names_its_node_and_its_cluster(tmp_path):
    head, _, page = serve(tmp_path, CLUSTER="attic").partition("\n\n")
    assert "Content-Type: text/html; charset=utf-8" in head
    name = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    assert f'<meta name="served-by" content="{name}">' in page
    assert "<title>attic, served by" in page


def test_the_page_links_to_prometheus_and_loads_nothing_from_other_hosts(tmp_path):
    links = Links(serve(tmp_path, CLUSTER="attic", PROMETHEUS="http://198.18.0.11:9090"))
    assert links.open == []
    outside = [link for link in links.found if not link.startswith("/")]
    assert all(link.startswith("http://198.18.0.11:9090/") for link in outside)
    assert len(outside) == 2


def test_without_prometheus_the_page_links_to_none(tmp_path):
    links = Links(serve(tmp_path))
    assert all(link.startswith("/") for link in links.found)


def test_what_the_stack_hands_in_cannot_become_markup(tmp_path):
    page = serve(tmp_path, CLUSTER='<script>"&', PROMETHEUS='"><script>')
    assert "<script>" not in page
    assert "&lt;script&gt;&quot;&amp;" in page


def test_every_file_that_the_page_names_is_there(tmp_path):
    local = [link for link in Links(serve(tmp_path)).found if link != "/"]
    assert local
    assert all((WWW / link.lstrip("/")).is_file() for link in local)


def test_the_server_may_run_the_page():
    assert os.access(PAGE, os.X_OK)
    # a page in the folder itself would be served in its place
    assert not (WWW / "index.html").exists()


def test_the_style_loads_nothing():
    assert not re.search(r"url\(|@import", (WWW / "style.css").read_text())
