"""`verify`: whether the registry is whole."""

from __future__ import annotations

import click

from image import cluster, options, progress
from image.registry import lock, stock, verification


@click.command("verify")
@options.as_json("what was looked at and what is damaged")
@click.pass_obj
def command(chosen: options.Chosen, as_json: bool) -> None:
    r"""Read every blob of every image, and pull every image on every node; exit code 1 where one is damaged.

    What a node did not have before it does not have afterwards.

    \b
    python -m image --context shelf verify
    python -m image --context shelf verify --json | jq -r '.damage[]'
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    holds = lock.patient(swarm, lambda: stock.read(swarm))
    with progress.shown(2) as told:
        result = verification.everything(swarm, holds, told)
    click.echo(result.json() if as_json else "\n".join(result.lines()))
    result.check(swarm)
