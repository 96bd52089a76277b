"""`history`: what was rolled out, when and by whom."""

from __future__ import annotations

import json

import click

from image import cluster, options
from image.stack import changelog, deploy


@click.command()
@options.as_json("the revisions")
@click.pass_obj
def command(chosen: options.Chosen, as_json: bool) -> None:
    r"""List the revisions of the stack that the swarm remembers, the last one first, and what each changed.

    \b
    python -m image --context shelf history
    python -m image --context shelf history --json | jq '.[0].images'

    A star marks the one that was rolled out last. How many are kept is a setting, in stack/settings.toml.
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    entries = changelog.entries(deploy.revisions(swarm))
    said = changelog.lines(entries) or ["no revisions yet: the swarm remembers what `deploy` rolls out"]
    click.echo(json.dumps([entry.values for entry in entries], indent=2) if as_json else "\n".join(said))
