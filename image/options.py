"""What commands share: the swarm that was chosen, and options of the same name and meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Chosen:
    """Which swarm, and the login to its registry; as `image.cluster.read` takes them."""

    context: str | None
    credentials: Path | None


def platforms(default: str) -> Callable[[F], F]:
    """`--platform`, any number of them, as text."""
    return click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="OS/ARCH[/VARIANT]",
        help=f"For this platform; may be repeated. Default: {default}.",
    )


def as_json(what: str) -> Callable[[F], F]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


def timeout(what: str, default: float = 300) -> Callable[[F], F]:
    """`--timeout`, in seconds."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=1),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=f"How long {what}.",
    )
