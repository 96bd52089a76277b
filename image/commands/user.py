"""`user`: who may enter by the gateway."""

from __future__ import annotations

import click

from image import cluster, options
from image.stack import secret_input, users


@click.group()
def command() -> None:
    r"""Set, list and remove the users whom the gateway lets in with a password.

    \b
    python -m image --context shelf user set ann        asks for her password
    python -m image --context shelf user list
    python -m image --context shelf user rm ann

    They stand in .cluster/NAME/settings.toml, each with the bcrypt hash of the password. What is changed there
    is so after the next deploy.
    """


@command.command("set")
@click.argument("name")
@click.option("--generate", is_flag=True, help="Make a password, and print it this once.")
@click.option("--keep", is_flag=True, help="Do nothing where NAME is a user already.")
@click.pass_obj
def set_(chosen: options.Chosen, name: str, generate: bool, keep: bool) -> None:
    r"""Give a user a password, a new user or one that forgot it.

    \b
    python -m image --context shelf user set ann
    python -m image --context shelf user set admin --generate
    pass show shelf/ann | python -m image --context shelf user set ann

    On a terminal it is asked for twice, else it is read from standard input, without one newline at its end.
    """
    users.check_name(name)
    swarm = cluster.read(chosen.context, chosen.credentials)
    if keep and name in users.known(swarm):
        click.echo(f"{name} is a user already, and keeps the password", err=True)
        return
    password = users.generated().encode() if generate else secret_input.read(f"password of {name}")
    file = users.store(swarm, name, password)
    if generate:
        click.echo(f"{name}'s password, shown this once:", err=True)
        click.echo(password)
    click.echo(f"{name} is in {file}; {swarm.command} deploy makes it so", err=True)


@command.command("list")
@click.pass_obj
def list_(chosen: options.Chosen) -> None:
    r"""Show the names, one a line.

    \b
    python -m image --context shelf user list
    """
    for name in users.known(cluster.read(chosen.context, chosen.credentials)):
        click.echo(name)


@command.command("rm")
@click.argument("name")
@click.pass_obj
def rm(chosen: options.Chosen, name: str) -> None:
    r"""Remove a user.

    \b
    python -m image --context shelf user rm ann
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    file = users.remove(swarm, name)
    click.echo(f"{name} is no more in {file}; {swarm.command} deploy makes it so", err=True)
