"""What a waiting person sees: on a terminal a line that moves, elsewhere plain lines. All on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import click

_PLAIN_EVERY = 10.0
_LIVE_EVERY = 0.5


def say(line: str) -> None:
    """One line of progress."""
    click.echo(line, err=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show that `what` is being done, for how long, and when it is done."""
    began = monotonic()
    with _live(what, began) if _terminal() else _plain(what, began):
        yield
    say(f"{what}: done in {monotonic() - began:.0f} s")


def _terminal() -> bool:
    return sys.stderr.isatty()


@contextmanager
def _plain(what: str, began: float) -> Iterator[None]:
    say(f"{what} …")
    with _ticker(_PLAIN_EVERY, lambda: say(f"{what} … {monotonic() - began:.0f} s")):
        yield


@contextmanager
def _live(what: str, began: float) -> Iterator[None]:
    from rich.console import Console  # costs 0.1 s that plain runs need not pay

    with (
        Console(stderr=True).status(f"{what} …") as status,
        _ticker(_LIVE_EVERY, lambda: status.update(f"{what} … {monotonic() - began:.0f} s")),
    ):
        yield


@contextmanager
def _ticker(every: float, tick: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every):
            tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
