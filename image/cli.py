"""The command line's frame: the options of all commands, and where each command is found."""

from __future__ import annotations

import errno
import logging
import os
import pkgutil
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.exceptions import NoSuchCommand

from image import commands, options
from image.errors import UserError

# How `--help` lists the commands. One that is in no section is listed after them.
SECTIONS: Final = {
    "Build": ("build-all", "sbom", "outdated", "bump"),
    "Registry": ("list", "inspect", "verify", "rm", "gc", "mirror", "move-registry"),
    "Deploy": ("render", "diff", "deploy", "status", "logs", "history", "rollback", "prove"),
    "Secrets": ("secret",),
    "Users": ("user",),
    "Shell": ("completion",),
}
_REST = "Other"
_INTERRUPTED = 130  # as a shell says it of a program that Ctrl-C ended
_WHOLE = 1000  # letters of a command's help; it is one sentence


C = TypeVar("C", bound=click.Command)


def _as_written(command: C) -> C:
    r"""Leave the paragraphs after a line `\b` unwrapped.

    That is click's mark, one character; in a docstring, which is raw where it has a backslash, it is two.
    """
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _as_written(each)
    return command


class Commands(click.Group):
    """Finds a command in the file of its name and imports no other: a quick command is mostly imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return _as_written(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in sections(self.list_commands(ctx)):
            found = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl([(name, one.get_short_help_str(_WHOLE)) for name, one in found if one])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise UserError(options.pasteable(error.message, ctx)) from error
        except KeyboardInterrupt:
            click.echo("\nStopped.", err=True)
            ctx.exit(_INTERRUPTED)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()  # what cannot be written is told here, and not by Python as it ends
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            click.echo("Error: cannot write to standard output: no space left on device", err=True)
            os._exit(1)  # Python would try to write it once more


def sections(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The commands that there are, in the order of SECTIONS; what stands in none of them comes last."""
    there = list(names)
    listed = {name for section in SECTIONS.values() for name in section}
    found = {title: [name for name in section if name in there] for title, section in SECTIONS.items()}
    found[_REST] = [name for name in there if name not in listed]
    return [(title, section) for title, section in found.items() if section]


class _Told(logging.Handler):
    """Writes to standard error as it is at that moment: what draws on it moves out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--context",
    metavar="NAME",
    envvar="DOCKER_CONTEXT",
    shell_complete=options.complete_contexts,
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
    python -m image build-all --help              the same for one command

    Results go to standard output, all else to standard error. DOCKER_CONTEXT chooses a swarm, too; NO_COLOR=1 keeps
    colours and moving lines away.

    \b
    Exit codes:
      0    done, and all is as it should be
      1    it could not be done, or something is not as it should be
      2    wrong usage: no such command or option
      130  stopped by Ctrl-C; the same command goes on from there
    """
    logging.basicConfig(format="+ %(message)s", level=logging.INFO if verbose else logging.WARNING, handlers=[_Told()])
    ctx.obj = options.Chosen(context, credentials)


_as_written(main)
