"""`python -m lab`: options in, results out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click
from docker.errors import DockerException

from image.errors import UserError
from lab import lifecycle
from lab import mail as post
from lab.spec import DEFAULT_NAME, MOST_NODES, Lab

_name = click.option("--name", envvar="LAB", default=DEFAULT_NAME, show_default=True, help="Which lab.")


class _Group(click.Group):
    """Commands whose failures at the engine are one line too."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except DockerException as error:
            raise UserError(f"the engine refused: {error}", "docker info, and again") from error


@click.group(cls=_Group)
def main() -> None:
    """Virtual Pis on this machine: containers that run systemd and ssh, as blank Pis do."""


@main.command()
@_name
@click.option(
    "--nodes",
    envvar="NODES",
    type=click.IntRange(1, MOST_NODES),
    default=3,
    show_default=True,
    help="How many; an existing lab grows, and never shrinks.",
)
def up(name: str, nodes: int) -> None:
    """Make and start what the lab lacks."""
    click.echo(_table(lifecycle.up(Lab.parse(name), nodes)))


@main.command()
@_name
@click.option("--force", is_flag=True, help="Also where the clone that made the lab is gone.")
def down(name: str, force: bool) -> None:
    """Remove the lab: its nodes, volumes, network, keys and docker context; nothing else."""
    lifecycle.down(Lab.parse(name), force)


@main.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(name: str, as_json: bool) -> None:
    """Show the lab's nodes."""
    found = lifecycle.status(Lab.parse(name))
    click.echo(json.dumps([asdict(node) for node in found]) if as_json else _table(found))


@main.command()
@_name
@click.option("--read", is_flag=True, help="Print what it got, as an mbox file.")
def mail(name: str, read: bool) -> None:
    """Start a mail server beside the nodes, and print the settings for it; `down` removes it."""
    lab = Lab.parse(name)
    if read:
        click.echo(post.letters(lab), nl=False)
        return
    server = post.up(lab)
    click.echo(server.settings(), nl=False)
    click.echo(f"# python -m image --context {name} secret set smtp_password <{server.folder / 'password'}")


def _table(found: Sequence[lifecycle.Status]) -> str:
    rows = [f"{node.name:<6} {node.address:<15} {node.state:<10} {node.container}" for node in found]
    return "\n".join(rows) or "no nodes"
