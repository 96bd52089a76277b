"""`rm`: images out of the registry."""

from __future__ import annotations

import click

from image import cluster, options, progress
from image.upkeep import collect


@click.command("rm")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE:TAG...")
@click.option("--force", is_flag=True, help="Also what a service runs: to have it made anew where it is damaged.")
@click.pass_obj
def command(chosen: options.Chosen, images: tuple[str, ...], force: bool) -> None:
    r"""Remove images from the registry; one that a service runs is refused.

    What they took on the disk is free after the next `gc --yes`.

    \b
    python -m image --context shelf rm busybox:v1.37.0-0123456789ab
    python -m image --context shelf gc --yes
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    with progress.shown(1) as told:
        gone = collect.take_out(swarm, images, force, told)
    click.echo("\n".join(f"removed {item}" for item in gone))
