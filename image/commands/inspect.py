"""`inspect`: one image in full."""

from __future__ import annotations

import click

from image import cluster, options
from image.registry import inspection, lock, selection, stock


@click.command("inspect")
@click.argument("image", metavar="IMAGE[:TAG]")
@options.as_json("all of it")
@click.pass_obj
def command(chosen: options.Chosen, image: str, as_json: bool) -> None:
    r"""Show an image of the registry: its index, each platform's layers, what is said of it.

    Without a tag it is the one that was pushed last.

    \b
    python -m image --context shelf inspect busybox
    python -m image --context shelf inspect busybox:v1.37.0-0123456789ab --json
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    holds = lock.patient(swarm, lambda: stock.read(swarm))
    found = inspection.describe(holds, selection.find(holds, image))
    click.echo(inspection.as_json(found) if as_json else "\n".join(inspection.lines(found)))
