"""`deploy`: the stack, rolled out and watched."""

from __future__ import annotations

import click

from image import cluster, deploy, options, plan, published
from image.spinner import Spinners


@click.command()
@options.timeout("all services may take until they run; a Pi needs minutes to pull an image")
@click.pass_obj
def command(chosen: options.Chosen, timeout: float) -> None:
    """Make the swarm run the stack, and watch until it does."""
    swarm = cluster.read(chosen.context, chosen.credentials)
    images = published.resolve(swarm, plan.read())
    with Spinners() as show:
        outcome = deploy.deploy(swarm, images, timeout, show)
    click.echo(outcome)
