"""`sbom`: what an image is made of."""

from __future__ import annotations

import click

from image import build, cluster, options, plan, progress
from image.registry import Registry


@click.command()
@options.image()
@click.pass_obj
def command(chosen: options.Chosen, name: str) -> None:
    """Print what an image is made of, as a CycloneDX document.

    \b
    python -m image --context shelf sbom prometheus            the document
    python -m image --context shelf sbom prometheus | jq -r '.components[].purl'
    python -m image --context shelf sbom registry > registry.cdx.json

    It is the document that lies beside the image in the registry. Where the registry has none of the image as this
    clone describes it, the image is compiled for the swarm's platforms, where it is not yet, and described.
    """  # noqa: D301 - click wants the character \b
    from image import sbom  # its library takes half a second

    (image,) = plan.read((name,))
    swarm = cluster.read(chosen.context, chosen.credentials)
    found = sbom.published(Registry.of(swarm), image)
    if found is None:
        what = plan.Plan((image,), build.default_platforms(swarm))
        with progress.shown(build.work(build.Status({}, what.images), what)) as told:
            found = sbom.compiled(build.make(what.images, what, {}, build.default_jobs(), told)[0])
    click.echo(found.origin, err=True)
    click.echo(found.content, nl=False)
