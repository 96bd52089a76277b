"""How a build shows that it goes on: a bar on a terminal, a line for each result elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

from image import terminal
from image.durations import TimeLeft

_EVERY = 20.0  # seconds between two lines that say that work goes on


class Progress(Protocol):
    """What a stage tells of its work; from several threads at once."""

    def begin(self, what: str) -> None:
        """Work on something starts."""

    def end(self, what: str, seconds: float, note: str) -> None:
        """It is done."""


class Lines:
    """A line when something begins, one when it is done, and now and then one that it goes on."""

    def __init__(self, left: TimeLeft) -> None:
        self._left = left
        self._working: dict[str, float] = {}
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Lines:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._ticker.join()

    def begin(self, what: str) -> None:
        self._working[what] = time.monotonic()
        self._left.begin(what)
        click.echo(f"{what} …", err=True)

    def end(self, what: str, seconds: float, note: str) -> None:
        self._working.pop(what, None)
        self._left.end(what)
        click.echo(_sentence(what, seconds, note), err=True)

    def _tick(self) -> None:
        while not self._over.wait(_EVERY):
            working = list(self._working.items())
            if working:
                now = time.monotonic()
                told = ", ".join(f"{what} {now - begun:.0f} s" for what, begun in working)
                click.echo("; ".join(filter(None, (f"… {told}", str(self._left)))), err=True)


class Bar:
    """What is being worked on, how much of all is done, and how long the rest may take."""

    def __init__(self, total: int, left: TimeLeft) -> None:
        from rich.console import Console  # not paid for where there is nothing to do
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Rich
        from rich.text import Text

        class Left(ProgressColumn):
            def render(self, task: Task) -> Text:  # noqa: ARG002 - rich gives it
                return Text(str(left))

        self._rich = Rich(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            Left(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
        )
        self._task = self._rich.add_task("", total=total)
        self._left = left
        self._working: list[str] = []

    def __enter__(self) -> Bar:
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rich.stop()

    def begin(self, what: str) -> None:
        self._working.append(what)
        self._left.begin(what)
        self._rich.update(self._task, description=", ".join(self._working))

    def end(self, what: str, seconds: float, note: str) -> None:
        self._working.remove(what)
        self._left.end(what)
        self._rich.console.print(_sentence(what, seconds, note), highlight=False, markup=False)
        self._rich.update(self._task, advance=1, description=", ".join(self._working))


@contextmanager
def shown(total: int, left: TimeLeft | None = None) -> Iterator[Progress]:
    """The progress that fits standard error, for so many pieces of work and, where one can say, the time left."""
    left = left or TimeLeft((), 1)
    with Bar(total, left) if terminal.lively(sys.stderr) else Lines(left) as progress:
        yield progress


@contextmanager
def step(progress: Progress, what: str) -> Iterator[list[str]]:
    """Tell of one piece of work; what is added to the list stands behind it."""
    start = time.monotonic()
    notes: list[str] = []
    progress.begin(what)
    try:
        yield notes
    except KeyboardInterrupt:
        notes.append("stopped; the same command goes on from here")
        raise
    except BaseException:
        notes.append("failed")
        raise
    finally:
        progress.end(what, time.monotonic() - start, ", ".join(notes))


def _sentence(what: str, seconds: float, note: str) -> str:
    return f"{what} … {seconds:.1f} s" + (f", {note}" if note else "")
