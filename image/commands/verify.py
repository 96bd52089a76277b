"""`verify`: whether the registry is whole."""

from __future__ import annotations

import click

from image import cluster, collect, options, progress, stock, verification


@click.command("verify")
@options.as_json("what was looked at and what is damaged")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    r"""Read every blob of every image, and pull every image on every node; exit code 1 where one is damaged.

    What a node did not have before it does not have afterwards.

    \b
    python -m image --context shelf verify
    python -m image --context shelf verify --json | jq -r '.damage[]'
    """
    swarm = cluster.read(ctx.obj.context, ctx.obj.credentials)
    holds = stock.read(swarm)
    with progress.shown(2) as told:
        result = verification.everything(swarm, holds, told)
    click.echo(result.json() if as_json else "\n".join(result.lines()))
    click.echo("" if result.ok else f"  Try: {collect.repair(swarm)}", err=True, nl=not result.ok)
    ctx.exit(0 if result.ok else 1)
