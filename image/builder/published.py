"""What the registry holds of what we would build."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from image import plan, settings
from image.builder.bake import ANNOTATION
from image.builder.pack import Sizes
from image.cluster import Cluster
from image.errors import UserError
from image.plan import Image
from image.platform import Platform
from image.registry.client import Index, Registry


@dataclass(frozen=True)
class Published:
    """An image in the registry."""

    name: str
    reference: str
    """By digest: `host:port/name@sha256:…`."""
    tag: str
    platforms: frozenset[Platform]
    pack: bool = False
    sizes: Mapping[Platform, Sizes] = field(default_factory=dict)
    manifests: Mapping[Platform, str] = field(default_factory=dict)
    """The digest of each platform's own manifest."""


def resolve(cluster: Cluster, images: Iterable[Image]) -> tuple[Published, ...]:
    """The images, as this clone describes them, by the digests that the cluster's registry has for them.

    Raises:
        UserError: one is not there, or lacks a platform of the cluster's nodes; or the registry does not
            answer or refuses the password.
    """
    images = tuple(images)
    found = ask(Registry.of(cluster), images)
    for image in images:
        published = found.get(image.name)
        if published is None:
            raise UserError(
                f"image {image.name} ({image.tag}) is not in the registry at {cluster.registry}",
                f"{cluster.command} build-all",
            )
        if lacking := set(cluster.platforms) - published.platforms:
            raise UserError(
                f"image {image.name} ({image.tag}) has no {' and no '.join(map(str, sorted(lacking)))}, "
                "which a node runs",
                f"{cluster.command} build-all",
            )
    return tuple(found[image.name] for image in images)


def of_stack(cluster: Cluster) -> tuple[Published, ...]:
    """The images that the stack of this clone uses, as `resolve`; raises UserError."""
    return resolve(cluster, settings.used(cluster, plan.read()))


def ask(registry: Registry, images: Collection[Image]) -> dict[str, Published]:
    """Those of the images that the registry has, by name; one question each, all at once."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = pool.map(lambda image: registry.index(image.name, image.tag), images)
        return {
            image.name: describe(registry, image, index)
            for image, index in zip(images, answers, strict=True)
            if index is not None
        }


def describe(registry: Registry, image: Image, index: Index) -> Published:
    """Read what our own annotation says; an index without it is one, too."""
    try:
        said = json.loads(index.annotations.get(ANNOTATION, "{}"))
        sizes = {Platform.parse(name): Sizes(**value) for name, value in said.get("sizes", {}).items()}
    except (ValueError, TypeError, AttributeError, UserError):
        said, sizes = {}, {}
    reference = f"{registry.address}/{image.name}@{index.digest}"
    packed = bool(said.get("pack"))
    return Published(image.name, reference, image.tag, index.platforms, packed, sizes, index.manifests)
