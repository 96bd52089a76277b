"""`sbom`: what an image is made of."""

from __future__ import annotations

import click

from image import cluster, options, plan
from image.builder import pipeline


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
    (image,) = plan.read((name,))
    swarm = cluster.read(chosen.context, chosen.credentials)
    found = pipeline.describe(swarm, image, pipeline.default_jobs())
    click.echo(found.origin, err=True)
    click.echo(found.content, nl=False)
