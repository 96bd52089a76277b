"""`logs`: what a service says."""

from __future__ import annotations

import click

from image import cluster, options
from image.stack import logs


@click.command()
@click.argument("service")
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C; exit code 0 then.")
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="LINES",
    help="How many of each task's last lines.",
)
@click.pass_obj
def command(chosen: options.Chosen, service: str, follow: bool, tail: int) -> None:
    r"""Print what a service's tasks log, each line with its task and node.

    \b
    python -m image --context shelf logs web
    python -m image --context shelf logs --follow --tail 0 prometheus
    """
    logs.show(cluster.read(chosen.context, chosen.credentials), service, follow, tail, click.echo)
