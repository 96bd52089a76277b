"""`bump`: another version of an upstream program."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from image import options
from image.upkeep import bump


@click.command()
@options.pin()
@click.argument("version", required=False)
@options.as_json("what changed")
def command(name: str, version: str | None, as_json: bool) -> None:
    r"""Move the pin of image NAME (or of a tool) to VERSION, upstream's newest where none is given.

    \b
    python -m image outdated                  what there is
    python -m image bump prometheus           to the newest
    python -m image bump prometheus 3.15.1    to this; v0.315.1, as the module calls it, is the same
    git diff Prometheus                       what it did

    It needs no swarm. The folder's go.mod and go.sum change at the end, when all of it was seen to resolve.
    """
    moved = bump.bump(name, version)
    click.echo(json.dumps(asdict(moved), indent=2, default=str) if as_json else "\n".join(moved.lines()))
