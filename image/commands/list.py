"""`list`: what the registry holds."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from image import cluster, options
from image.registry import listing, lock, stock, usage


@click.command("list")
@options.as_json("a list of objects with image, tag, digest, platforms, bytes, pushed, services and damage")
@click.pass_obj
def command(chosen: options.Chosen, as_json: bool) -> None:
    r"""Show what the registry holds, and which service uses it.

    \b
    python -m image --context shelf list
    python -m image --context shelf list --json | jq -r '.[] | select(.services == []) | .image + ":" + .tag'

    PUSHED is when the tag was last pushed, by the clock of the registry's node: the images themselves carry
    no time, for the same pins give the same image whenever it is built.
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    rows = listing.rows(lock.patient(swarm, lambda: stock.read(swarm)), usage.read(swarm))
    click.echo(listing.as_json(rows) if as_json else "\n".join(listing.lines(rows, datetime.now(UTC))))
