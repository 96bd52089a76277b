"""`deploy`: the stack, rolled out and watched."""

from __future__ import annotations

import click

from image import cluster, options, settings
from image.builder import published
from image.registry import lock
from image.stack import deploy, users
from image.stack.spinner import Spinners


@click.command()
@options.timeout("all services may take until they run; a Pi needs minutes to pull an image")
@click.pass_obj
def command(chosen: options.Chosen, timeout: float) -> None:
    r"""Make the swarm run the stack, watch until it does, and have the swarm remember it as a revision.

    \b
    python -m image --context shelf diff          what it would change
    python -m image --context shelf deploy        change it
    python -m image --context shelf rollback      and go back to what ran before

    Only what differs is changed, also where somebody changed a service by hand. Exit code 1 where the stack
    does not run in the end: the history then has a revision that failed.
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    stack = lock.patient(swarm, lambda: deploy.checked(swarm, published.of_stack(swarm)))
    click.echo(deploy.warnings(swarm), nl=False, err=True)
    with Spinners() as show:
        outcome = deploy.deploy(swarm, stack, timeout, show)
    click.echo(outcome)
    if outcome.new:
        deploy.prune(swarm, settings.of(swarm).keep_revisions)
    if lacking := users.hint(swarm):
        click.echo(lacking, err=True)
