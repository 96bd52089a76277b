"""How far the services are: a spinner for each on a terminal, plain lines elsewhere; always to stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from image import terminal
from image.stack.watch import Phase, Progress

_MARKS: dict[Phase, str] = {"converged": "[green]✓", "failed": "[red]✗"}


class Spinners:
    """Shows the progress of a watched stack; use it as `show`, inside `with`.

    Args:
        again: what goes on from where Ctrl-C ended the watch; it is told then.
    """

    def __init__(self, again: str = "the same command") -> None:
        self._again = again
        console = Console(stderr=True, highlight=False)
        self._console = console
        # One spinner a service, kept from look to look so that it turns evenly.
        self._turning: dict[str, Spinner] = {}
        self._live = (
            Live(console=console, transient=True, refresh_per_second=8) if terminal.lively(sys.stderr) else None
        )
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        if kind is KeyboardInterrupt:
            self._console.print(f"watching … stopped; {self._again} goes on from here")

    def __call__(self, progress: tuple[Progress, ...]) -> None:
        if self._live:
            self._live.update(self._table(progress))
        else:
            self._say_what_is_new(progress)

    def _table(self, progress: tuple[Progress, ...]) -> Table:
        table = Table.grid(padding=(0, 1))
        for one in progress:
            turning = self._turning.setdefault(one.name, Spinner("dots"))
            count = f"{one.running}/{one.wanted}"
            table.add_row("  ", _MARKS.get(one.phase, turning), one.name, count, Text(one.detail, "dim"))
        return table

    def _say_what_is_new(self, progress: tuple[Progress, ...]) -> None:
        for one in progress:
            line = f"  {one}" + (" converged" if one.phase == "converged" else "")
            if self._said.get(one.name) != line:
                self._said[one.name] = line
                self._console.print(line, markup=False, soft_wrap=True)
