"""`rollback`: the stack as it was."""

from __future__ import annotations

import click

from image import cluster, options
from image.stack import deploy
from image.stack.spinner import Spinners


@click.command()
@click.argument("revision", type=click.IntRange(min=1), required=False)
@options.timeout("all services may take until they run; a Pi needs minutes to pull an image")
@click.pass_obj
def command(chosen: options.Chosen, revision: int | None, timeout: float) -> None:
    r"""Go back to a revision of the stack, by default the good one before the last, and watch until it runs.

    \b
    python -m image --context shelf history       which revisions there are
    python -m image --context shelf rollback 3    services and configs as they were in revision 3

    All comes from the swarm; this clone may have changed or be another one. What is rolled out is a new
    revision like others: a second rollback without a number goes forth again. So does one after a rollback that
    was stopped or has failed; with the number it goes on.
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    with Spinners("rollback with the number of the revision") as show:
        outcome = deploy.rollback(swarm, revision, timeout, show)
    click.echo(outcome)
    if told := deploy.tidied(swarm, outcome):
        click.echo(told, err=True)
