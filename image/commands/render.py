"""`render`: the compose file."""

from __future__ import annotations

import click

from image import cluster, options
from image.builder import published
from image.registry import lock
from image.stack import deploy, template


@click.command()
@click.pass_obj
def command(chosen: options.Chosen) -> None:
    r"""Print the compose file that `deploy` would use.

    \b
    python -m image --context shelf render                      to read it
    python -m image render >stack.yml                           to keep it
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    stack = lock.patient(swarm, lambda: template.compose(swarm, published.of_stack(swarm)))
    click.echo(deploy.warnings(swarm, stack), nl=False, err=True)
    click.echo(stack.compose, nl=False)
