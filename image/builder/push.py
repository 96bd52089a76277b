"""What BuildKit pushed gets its tag: when it is whole, and its SBOM is with it.

So an image that has its tag needs no second look by any later run, whenever this one ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from image.builder import published, sbom
from image.builder.bake import INCOMING, Contents
from image.builder.published import Published
from image.errors import UserError, raise_all
from image.platform import Platform
from image.registry import referrers, upload
from image.registry.client import Index, Registry
from image.registry.manifest import INDEX
from image.registry.verified import verify


def publish(registry: Registry, images: Iterable[Contents], digests: Mapping[str, str]) -> dict[str, Published]:
    """Look at each image in the registry, put its SBOM beside it and give it its tag; what the registry has then.

    Args:
        digests: the images' indexes, by name, as they were pushed.

    Raises:
        UserError: images are not as they should be, with all that is wrong; or the registry does not answer.
    """
    images = tuple(images)
    with ThreadPoolExecutor(max_workers=8) as pool:
        # To the end of all, for each result that is there is one less for the next run.
        done = [pool.submit(_publish, registry, contents, digests[contents.image.name]) for contents in images]
        raise_all(future.exception() for future in done)
    return published.ask(registry, [contents.image for contents in images])


def _publish(registry: Registry, contents: Contents, digest: str) -> None:
    image = contents.image
    where, index = f"{image.name}@{digest}", registry.manifest(image.name, digest)
    has = Index.parse(index, where).platforms if index else ()
    wrong = [*verify(registry, image.name, digest, platforms=True), *unlike(where, has, contents.programs)]
    if wrong or index is None:
        raise UserError("\n".join(("the registry does not hold what was pushed:", *wrong)), "build-all again")
    subject = referrers.Subject(digest, len(index))
    referrers.attach(registry, image.name, subject, sbom.MEDIA_TYPE, sbom.of(contents))
    upload.manifest(registry, image.name, image.tag, index, INDEX)
    registry.delete(image.name, INCOMING)


def unlike(what: str, has: Collection[Platform], built: Collection[Platform]) -> list[str]:
    """In words, the platforms that an index lacks, and those that it has and nobody built."""
    lacks = [f"{what}: {platform} was built and is not in it" for platform in sorted(set(built) - set(has))]
    return [*lacks, *(f"{what}: {platform} is in it and was not built" for platform in sorted(set(has) - set(built)))]
