"""`outdated`: newer upstream versions."""

from __future__ import annotations

import json

import click

from image import options
from image.builder import modules
from image.upkeep import outdated


@click.command()
@options.pins()
@click.option("--exit-code", is_flag=True, help="Exit with 1 where there is something newer.")
@options.as_json("what was found")
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], exit_code: bool, as_json: bool) -> None:
    r"""List the images' versions beside upstream's newest; no swarm is needed.

    \b
    python -m image outdated                          all images, and the tools that build them
    python -m image outdated prometheus buildx        one image, one tool
    python -m image outdated --exit-code >/dev/null   for a script: 1 where there is something newer
    python -m image bump prometheus                   move a pin

    Of a program of Debian's every version counts that the suite has for it: fixes of security are such.
    Pre-releases and retracted versions do not count, nor does a new major version, which Go takes for another
    module. Exit code 1 also where upstream could not be asked.
    """
    found = outdated.outdated(*modules.named(names))
    click.echo(json.dumps(outdated.values(found), indent=2) if as_json else "\n".join(outdated.lines(found)))
    ctx.exit(outdated.code(found, exit_code))
