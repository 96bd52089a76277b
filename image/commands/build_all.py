"""`build-all`: compile, pack, build and push what the registry has not."""

from __future__ import annotations

import click

from image import build, cache, cluster, durations, options, plan, progress
from image.platform import Platform


@click.command("build-all")
@click.argument("names", nargs=-1, metavar="[IMAGE]...")
@options.platforms("what the swarm's nodes run, and linux/arm64")
@click.option("--no-upx", is_flag=True, help="Leave every program as it was compiled.")
@click.option("--jobs", type=click.IntRange(min=1), help="Programs to compile at once. Default: by cores and memory.")
@click.pass_obj
def command(
    chosen: options.Chosen, names: tuple[str, ...], platforms: tuple[str, ...], no_upx: bool, jobs: int | None
) -> None:
    """Build all images, or those named, and push them to the swarm's registry.

    What the registry has already is left out. The registry itself is started from our own image.
    """
    wanted = tuple(Platform.parse(text) for text in platforms)
    images = plan.read(names)
    swarm = cluster.read(chosen.context, chosen.credentials)
    what = plan.Plan(images, wanted or build.default_platforms(swarm), pack=not no_upx)
    at_once = jobs or build.default_jobs()
    todo = build.status(swarm, what)
    if todo.nothing_to_do:
        click.echo(f"images: nothing to do, {swarm.registry} has all {len(what.images)}", err=True)
    else:
        cache.sweep()
    if todo.start_registry:
        with progress.shown(2) as told:
            build.start_registry(swarm, what, todo.start_registry, at_once, told)
        todo = build.status(swarm, what)
    there = todo.there
    if todo.missing:
        pieces = build.work(todo, what)
        with progress.shown(len(pieces), durations.TimeLeft(pieces, at_once)) as told:
            there = build.build(swarm, what, todo, at_once, told)
    click.echo("\n".join(build.lines(there)))
