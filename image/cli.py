"""The commands: options become a plan, a plan goes through the stages, the results are shown."""

from __future__ import annotations

from pathlib import Path

import click

from image import cluster
from image.plan import Plan
from image.plan import read as read_images
from image.platform import Platform


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


@main.command("build-all")
@click.argument("names", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Build for this platform; may be repeated. Default: what the swarm's nodes run, and linux/arm64.",
)
@click.option("--no-upx", is_flag=True, help="Leave every program as it was compiled.")
@click.option("--jobs", type=click.IntRange(min=1), help="Programs to compile at once. Default: by cores and memory.")
@click.option(
    "--credentials",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with Docker's config.json that logs in to the registry. Default: .cluster/CONTEXT.",
)
@click.pass_obj
def build_all(
    context: str | None,
    names: tuple[str, ...],
    platforms: tuple[str, ...],
    no_upx: bool,
    jobs: int | None,
    credentials: Path | None,
) -> None:
    """Build all images, or those named, and push them to the swarm's registry.

    What the registry has already is left out. The registry itself is started from our own image.
    """
    from image import build, progress  # slow to import, and no other command needs them

    chosen = tuple(Platform.parse(text) for text in platforms)
    images = read_images(names)
    swarm = cluster.read(context, credentials)
    plan = Plan(images, chosen or tuple(sorted({*swarm.platforms, Platform("linux", "arm64")})), pack=not no_upx)
    todo = build.status(swarm, plan)
    there = todo.there
    if todo.nothing_to_do:
        click.echo(f"images: nothing to do, {swarm.registry} has all {len(plan.images)}", err=True)
    else:
        with progress.shown(build.work(todo, plan)) as told:
            there = build.build(swarm, plan, todo, jobs or build.default_jobs(), told)
    click.echo("\n".join(build.lines(there)))
