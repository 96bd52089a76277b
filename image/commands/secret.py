"""`secret`: what the swarm keeps secret."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from image import cluster, options
from image.stack import deploy, secret_input, secrets, template


@click.group()
def command() -> None:
    r"""Set, list and remove the secrets that services read.

    \b
    python -m image --context shelf secret set smtp_password        asks for it
    python -m image --context shelf secret list                     which there are; never what they are
    python -m image --context shelf secret rm smtp_password
    """


@command.command("set")
@click.argument("name")
@click.option("--generate", is_flag=True, help="Make a password, and print it this once.")
@click.pass_obj
def set_(chosen: options.Chosen, name: str, generate: bool) -> None:
    r"""Store a value; on a terminal it is asked for twice, else it is read from standard input.

    \b
    python -m image --context shelf secret set smtp_password
    pass show mail | python -m image --context shelf secret set smtp_password
    python -m image --context shelf secret set grafana_password --generate

    One newline at the end is no part of it. What runs keeps the value that it has until the next `deploy`, which
    replaces task by task. The same value again changes nothing.
    """
    secrets.check_name(name)
    swarm = cluster.read(chosen.context, chosen.credentials)
    value = secrets.generated().encode() if generate else secret_input.read(name)
    stored = secrets.store(swarm, name, value)
    if generate:
        click.echo(value)
    click.echo(stored.sentence(swarm.command), err=True)
    if warning := template.unnamed(name):
        click.echo(warning, err=True)


@command.command("list")
@options.as_json("a list of objects with name, version, set, stored_as, services and behind")
@click.pass_obj
def list_(chosen: options.Chosen, as_json: bool) -> None:
    r"""Show which secrets the swarm has, and which service has them; never their values.

    \b
    python -m image --context shelf secret list
    python -m image --context shelf secret list --json | jq -r '.[] | select(.behind != []) | .name'
    """
    rows = secrets.rows(cluster.read(chosen.context, chosen.credentials))
    click.echo(json.dumps([asdict(row) for row in rows], indent=2) if as_json else "\n".join(secrets.lines(rows)))


@command.command("rm")
@click.argument("name")
@click.pass_obj
def rm(chosen: options.Chosen, name: str) -> None:
    r"""Remove all versions of a secret; one that a service has is refused.

    \b
    python -m image --context shelf secret rm smtp_password
    """
    swarm = cluster.read(chosen.context, chosen.credentials)
    gone = secrets.remove(swarm, name)
    click.echo(f"removed {name}, {len(gone)} version{'s' * (len(gone) > 1)}")
    if lost := deploy.needing(swarm, gone):
        click.echo(f"rollback will refuse what needs it: revision {', '.join(map(str, lost))}", err=True)
