"""The commands: options become a plan, a plan goes through the stages, the results are shown."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--context",
    metavar="NAME",
    envvar="DOCKER_CONTEXT",
    help="The docker context of the swarm, as provisioning left it. Default: the current one.",
)
@click.pass_context
def main(ctx: click.Context, context: str | None) -> None:
    """Build the cluster's images and deploy its stack."""
    ctx.obj = context
