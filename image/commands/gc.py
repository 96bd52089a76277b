"""`gc`: the registry without what nothing needs any more."""

from __future__ import annotations

import click

from image import cluster, progress
from image.registry import lock
from image.upkeep import collect


@click.command("gc")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=collect.VERSIONS,
    show_default=True,
    metavar="N",
    help="Keep the last N versions of each image.",
)
@click.option("--yes", is_flag=True, help="Do it; without it, only say what would be removed.")
@click.pass_context
def command(ctx: click.Context, keep: int, yes: bool) -> None:
    r"""Remove from the registry what nothing needs any more; without --yes, only say what that is.

    Kept is what a service of the swarm runs or would roll back to, what a revision of the stack has, what this
    clone describes, the last versions of each image, and all tags of images that are not built here.

    \b
    python -m image --context shelf gc
    python -m image --context shelf gc --keep 1 --yes

    The registry restarts once, and cannot be pushed to while it collects. Whatever happens to this command, it
    serves again afterwards. Exit code 1 where an image that stays is damaged.
    """
    swarm = cluster.read(ctx.obj.context, ctx.obj.credentials)
    cleaning = lock.patient(swarm, lambda: collect.plan(swarm, keep))
    if not yes:
        click.echo("\n".join(cleaning.lines()))
        ctx.exit(0)
    with progress.shown(3) as told:
        outcome = collect.carry_out(swarm, cleaning, told)
    click.echo("\n".join(outcome.lines()))
