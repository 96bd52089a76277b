"""`diff`: what a deploy would change."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from image import cluster, options
from image.builder import published
from image.registry import lock
from image.stack import deploy, difference


@click.command()
@click.option("--exit-code", is_flag=True, help="Exit code 1 where there is a difference.")
@options.as_json("the differences")
@click.pass_context
def command(ctx: click.Context, exit_code: bool, as_json: bool) -> None:
    r"""Show what `deploy` would change in the services that run, field by field.

    \b
    python -m image --context shelf diff
    python -m image --context shelf diff --json | jq -r '.[].service'
    python -m image --context shelf diff --exit-code || echo somebody has been here

    Compared is what runs, not what was rolled out last: also what somebody changed by hand is seen.
    """
    swarm = cluster.read(ctx.obj.context, ctx.obj.credentials)
    stack = lock.patient(swarm, lambda: deploy.checked(swarm, published.of_stack(swarm)))
    click.echo(deploy.warnings(swarm, stack), nl=False, err=True)
    found = deploy.changes(swarm, stack)
    lines = difference.lines(found) or ["no difference: the stack runs as this clone describes it"]
    click.echo(json.dumps([asdict(change) for change in found], indent=2) if as_json else "\n".join(lines))
    ctx.exit(1 if found and exit_code else 0)
