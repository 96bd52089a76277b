"""A real browser: headless Chromium, as Debian has it, and what its pages did besides being looked at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from tools.debian import BROWSERS

_FLAGS = (
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",  # whatever proxy this machine has: what is looked at is beside it
)
PHONE = 360
DESK = 1280
# The reader is where it is noon, and so not where this machine is: no day ends while a test looks.
NOON = timezone(timedelta(hours=12 - datetime.now(UTC).hour))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser while the body runs."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert program, "there is no Chromium: `make setup` installs Debian's; elsewhere install it as you do there"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


_HIDE = """(hidden) => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange")); }"""


@dataclass
class Visit:
    """A page that is open, and what a look at it does not show."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """What it wrote to the console, and errors that nobody caught."""
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> set[str]:
        """Whom it asked for something."""
        return {urlsplit(url).netloc for url in self.requests}

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return self.page.locator(selector).inner_text()

    def hide(self, hidden: bool) -> None:
        """Let the page believe that nobody looks, as when another tab is in front; or that somebody does again."""
        self.page.evaluate(_HIDE, hidden)

    def wait(self, selector: str) -> None:
        """Until there is such an element. (Code is no way to ask: the page's own policy forbids to evaluate text.)"""
        self.page.locator(selector).first.wait_for(state="attached")


@contextmanager
def visit(browser: Browser, url: str, *, width: int = DESK, height: int = 900, **context: Any) -> Iterator[Visit]:
    """Open a page in a context of its own, without cookies, caches and storage of others.

    Args:
        context: as Playwright's `new_context` takes it, e.g. color_scheme="dark".
    """
    east = NOON.utcoffset(None) // timedelta(hours=1)
    zone = f"Etc/GMT{-east:+}"  # these names count westwards
    opened = browser.new_context(viewport={"width": width, "height": height}, timezone_id=zone, **context)
    try:
        seen = Visit(opened.new_page())
        seen.page.set_default_timeout(60_000)
        seen.page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        seen.page.goto(url)
        yield seen
    finally:
        opened.close()
