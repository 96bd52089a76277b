"""`mirror`: images of others, copied into the cluster's registry."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from image import cluster, options, progress
from image.registry import mirror, mirrors
from image.registry.skopeo import Access


@click.command()
@click.argument("words", nargs=-1, metavar="[NAME|REF]...")
@click.option(
    "--name", default="", help="How stack/mirrors.toml and the template call it. Default: after its repository."
)
@click.option(
    "--swarm-only/--all-platforms",
    default=None,
    help="Only what the swarm's nodes run, in an index of our own; or upstream's index as it is. "
    "Default: as recorded, at first all.",
)
@click.option("--update", is_flag=True, help="Take what the tag means by now, and say what changed.")
@click.option(
    "--source-credentials",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with a config.json that logs in to the source. Default: what `docker login` left.",
)
@click.option(
    "--source-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The CA of a source that has one of its own, in PEM.",
)
@click.option("--insecure-source", is_flag=True, help="Also a source without TLS, or whose certificate nobody signed.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=mirrors.FILE,
    help="Where it is recorded. Default: stack/mirrors.toml.",
)
@options.as_json("what is mirrored")
@click.pass_obj
def command(
    chosen: options.Chosen,
    words: tuple[str, ...],
    name: str,
    swarm_only: bool | None,
    update: bool,
    source_credentials: Path | None,
    source_ca: Path | None,
    insecure_source: bool,
    file: Path,
    as_json: bool,
) -> None:
    """Copy images from elsewhere into the swarm's registry, by digest.

    Each is recorded in stack/mirrors.toml. Without a NAME or REF: whatever is enabled there and missing.

    \b
    python -m image mirror portainer                        one that is recorded; it is enabled then
    python -m image mirror docker.io/library/redis:8        another one
    python -m image mirror --swarm-only grafana             without the platforms that no node runs
    python -m image mirror --update                         do their tags mean something newer?
    """  # noqa: D301 - the \b is for click
    every = None if swarm_only is None else not swarm_only
    wanted = mirror.chosen(mirrors.read(file), words, name, every)
    swarm = cluster.read(chosen.context, chosen.credentials)
    access = Access(source_credentials, source_ca, insecure_source)
    done = mirror.mirror(swarm, wanted, access, progress.shown, file, every=every, update=update)
    if not any(one.copied for one in done):
        click.echo(f"mirrors: nothing to do, {swarm.registry} has all {len(done)} that were asked for", err=True)
    said = (
        json.dumps([asdict(one) for one in done], indent=2) + "\n" if as_json else "".join(f"{one}\n" for one in done)
    )
    click.echo(said, nl=False)
