"""`status`: how the stack is."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from image import cluster, options
from image.stack import deploy, status


@click.command()
@options.as_json("services, tasks and nodes")
@click.pass_obj
def command(chosen: options.Chosen, as_json: bool) -> None:
    r"""Show the stack's services, where their tasks run and which version of an image, and the nodes.

    Exit code 1 where a service does not run as it should, or a node is not ready; standard error says which.

    \b
    python -m image --context shelf status
    watch -c python -m image --context shelf status
    python -m image --context shelf status --json | jq -r '.tasks[] | select(.state != "running")'
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    found = deploy.status_of(swarm)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        status.show(found)
    found.check(swarm)
