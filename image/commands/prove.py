"""`prove`: whether the cluster does what it is for."""

from __future__ import annotations

import click

from image import cluster, options, plan, settings
from image.stack import prove


@click.command()
@options.as_json("the measures")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    r"""Measure whether the cluster does what it should; exit code 1 where it does not.

    \b
    python -m image --context shelf prove                       for a person
    python -m image prove --json >proof.json                    for a program
    """
    swarm = cluster.read(ctx.obj.context, ctx.obj.credentials)
    proof = prove.prove(swarm, settings.used(swarm, plan.read()))
    told = proof.json() if as_json else "\n".join(proof.lines(swarm.docker))
    click.echo(options.pasteable(told, ctx))
    ctx.exit(0 if proof.ok else 1)
