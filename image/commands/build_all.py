"""`build-all`: compile, pack, build and push what the registry has not."""

from __future__ import annotations

import json

import click

from image import cluster, options, plan, settings
from image.builder import pipeline, summary
from image.platform import Platform


@click.command("build-all")
@options.images()
@options.platforms("what the swarm's nodes run, and linux/arm64")
@click.option("--no-upx", is_flag=True, help="Leave every program as it was compiled.")
@options.jobs()
@options.as_json("references, digests, platforms and sizes in bytes")
@click.pass_obj
def command(
    chosen: options.Chosen,
    names: tuple[str, ...],
    platforms: tuple[str, ...],
    no_upx: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    r"""Build all images that the stack uses, or those named, and push them to the swarm's registry.

    What the registry has already is left out, and the images of services that the settings switch off. The registry
    itself is started from our own image.

    \b
    python -m image --context shelf build-all                        what is missing
    python -m image --context shelf build-all registry --no-upx      one image, its program unpacked
    python -m image --context shelf build-all --platform linux/arm/v6 --platform linux/arm64
    python -m image --context shelf build-all --json | jq -r '.[].reference'
    """
    wanted = tuple(Platform.parse(text) for text in platforms)
    named = plan.read(names)
    swarm = cluster.read(chosen.context, chosen.credentials)
    images = named if names else settings.used(swarm, named)
    what = plan.Plan(images, wanted or pipeline.default_platforms(swarm), pack=not no_upx)
    done = pipeline.build_all(swarm, what, jobs or pipeline.default_jobs())
    if done.nothing_to_do:
        click.echo(f"images: nothing to do, {swarm.registry} has all {len(images)}", err=True)
    found = summary.of(done.there)
    click.echo(json.dumps(summary.values(found), indent=2) if as_json else "\n".join(summary.lines(found)))
