"""What commands share: the swarm that was chosen, and options of the same name and meaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from image import plan
from image.builder import modules
from image.platform import PLATFORMS
from pki import context

_OURS = re.compile(r"python -m image (?=[a-z])")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Chosen:
    """Which swarm, and the login to its registry; as `image.cluster.read` takes them."""

    context: str | None
    credentials: Path | None


def pasteable(text: str, ctx: click.Context) -> str:
    """Our own commands in a text, for the swarm that was chosen on this command line; else they are for it anyway."""
    root = ctx.find_root()
    if root.get_parameter_source("context") is not ParameterSource.COMMANDLINE:
        return text
    return _OURS.sub(f"python -m image --context {root.params['context']} ", text)


def complete_contexts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """The docker contexts that begin so, for the shell."""
    return [name for name in context.names(context.docker_config_folder()) if name.startswith(incomplete)]


def _complete_platforms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    return [name for name in PLATFORMS if name.startswith(incomplete)]


def _complete_images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    return [image.name for image in plan.read() if image.name.startswith(incomplete)]


def _complete_pins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    images, tools = modules.named()
    names = (*(image.name for image in images), *(tool.name for tool in tools))
    return [name for name in names if name.startswith(incomplete)]


def images() -> Callable[[F], F]:
    """`[IMAGE]...`, any number of names; the shell completes them."""
    return click.argument("names", nargs=-1, metavar="[IMAGE]...", shell_complete=_complete_images)


def image() -> Callable[[F], F]:
    """`IMAGE`, one name."""
    return click.argument("name", metavar="IMAGE", shell_complete=_complete_images)


def pins() -> Callable[[F], F]:
    """`[NAME]...`, any number of images and tools."""
    return click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=_complete_pins)


def pin() -> Callable[[F], F]:
    """`NAME`, one image or tool."""
    return click.argument("name", metavar="NAME", shell_complete=_complete_pins)


def jobs() -> Callable[[F], F]:
    """`--jobs`; None where nobody says."""
    return click.option(
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Programs made at once. Default: by cores and free memory.",
    )


def platforms(default: str) -> Callable[[F], F]:
    """`--platform`, any number of them, as text."""
    return click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="OS/ARCH[/VARIANT]",
        shell_complete=_complete_platforms,
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
