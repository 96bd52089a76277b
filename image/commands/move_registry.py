"""`move-registry`: the registry to where its node's labels say."""

from __future__ import annotations

import click

from image import cluster, options, progress
from image.upkeep import moving


@click.command("move-registry")
@click.option("--remove-old", is_flag=True, help="Take away what was moved, once no service asks for it there.")
@click.pass_obj
def command(chosen: options.Chosen, remove_old: bool) -> None:
    r"""Move the registry with all that it holds to the node, and the data, that provisioning labelled.

    First change `registry_node` or `registry_data` in group_data/all.py. What is copied is read and hashed there;
    the old registry serves, and stays, until --remove-old.

    \b
    pyinfra inventory.py deploys/swarm.py
    python -m image --context shelf move-registry
    python -m image --context shelf deploy
    python -m image --context shelf move-registry --remove-old
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    with progress.shown(5) as told:
        moved = (moving.remove_old if remove_old else moving.move)(swarm, told)
    click.echo("\n".join(moved.lines))
    moved.check(swarm)
