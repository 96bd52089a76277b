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
    from image import build, cache, progress  # slow to import, and no other command needs them

    chosen = tuple(Platform.parse(text) for text in platforms)
    images = read_images(names)
    swarm = cluster.read(context, credentials)
    plan = Plan(images, chosen or tuple(sorted({*swarm.platforms, Platform("linux", "arm64")})), pack=not no_upx)
    at_once = jobs or build.default_jobs()
    todo = build.status(swarm, plan)
    if todo.nothing_to_do:
        click.echo(f"images: nothing to do, {swarm.registry} has all {len(plan.images)}", err=True)
    else:
        cache.sweep()
    if todo.start_registry:
        with progress.shown(2) as told:
            build.start_registry(swarm, plan, todo.start_registry, at_once, told)
        todo = build.status(swarm, plan)
    there = todo.there
    if todo.missing:
        with progress.shown(build.work(todo, plan)) as told:
            there = build.build(swarm, plan, todo, at_once, told)
    click.echo("\n".join(build.lines(there)))


@main.command("render")
@click.pass_obj
def render_command(context: str | None) -> None:
    """Print the compose file that `deploy` would use."""
    from image import deploy, published

    swarm = cluster.read(context)
    click.echo(deploy.compose(swarm, published.resolve(swarm, read_images())), nl=False)


@main.command("deploy")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long all services may take until they run; a Pi needs minutes to pull an image.",
)
@click.pass_obj
def deploy_command(context: str | None, timeout: float) -> None:
    """Make the swarm run the stack, and watch until it does."""
    from image import deploy, published
    from image.spinner import Spinners

    swarm = cluster.read(context)
    images = published.resolve(swarm, read_images())
    with Spinners() as show:
        outcome = deploy.deploy(swarm, images, timeout, show)
    click.echo(outcome)


@main.command("prove")
@click.option("--json", "as_json", is_flag=True, help="Print the measures as JSON.")
@click.pass_context
def prove_command(ctx: click.Context, as_json: bool) -> None:
    """Measure whether the cluster does what it should; exit code 1 where it does not."""
    from image import prove

    swarm = cluster.read(ctx.obj)
    proof = prove.prove(swarm, read_images())
    click.echo(proof.json() if as_json else "\n".join(proof.lines(swarm.docker)))
    ctx.exit(0 if proof.ok else 1)
