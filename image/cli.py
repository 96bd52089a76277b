"""The command line's frame: the options of all commands, and where each command is found."""

from __future__ import annotations

import logging
import pkgutil
from importlib import import_module
from pathlib import Path

import click

from image import commands
from image.options import Chosen


class Commands(click.Group):
    """Finds a command in the file of its name and imports no other: a quick command is mostly imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        return as_written(module.command)


def as_written(command: click.Command) -> click.Command:
    """Put click's backspace for the two characters that a raw docstring has: a paragraph keeps its lines then."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--context",
    metavar="NAME",
    envvar="DOCKER_CONTEXT",
    help="The docker context of the swarm, as provisioning left it. Default: the current one.",
)
@click.option(
    "--credentials",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with Docker's config.json that logs in to the registry. Default: .cluster/CONTEXT.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show each program that is started, as one could paste it.")
@click.pass_context
def main(ctx: click.Context, context: str | None, credentials: Path | None, verbose: bool) -> None:
    r"""Build the cluster's images and deploy its stack.

    \b
    python -m image --context shelf build-all     what is missing in the swarm's registry
    python -m image --context shelf deploy        roll out, and watch until it runs

    Exit codes: 0 done; 1 it could not be done, or is not as it should be; 2 wrong usage.
    """
    logging.basicConfig(format="+ %(message)s", level=logging.INFO if verbose else logging.WARNING)
    ctx.obj = Chosen(context, credentials)


as_written(main)
