"""What an image is made of, as a CycloneDX document; the same pins give the same bytes.

Source: what Go wrote into each program, Debian's changelog beside its program, and image.toml.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from image.builder import debian, pack
from image.builder.bake import Contents
from image.plan import Image
from image.platform import Platform
from image.registry import referrers
from image.registry.client import Registry
from image.run import run

MEDIA_TYPE = "application/vnd.cyclonedx+json"


@dataclass(frozen=True, order=True)
class Part:
    """Something that a program is made of."""

    purl: str
    """A package URL, e.g. `pkg:golang/github.com/google/uuid@v1.6.0`."""
    go_sum: str = ""
    """What Go's checksum database knows it by: `h1:…`."""


@dataclass(frozen=True)
class Made:
    """A platform's program, as it lies in the image, and what it is made of."""

    sha256: str
    parts: frozenset[Part]


@dataclass(frozen=True)
class Found:
    """An image's document, and where it comes from, for a person."""

    content: bytes
    origin: str


def published(registry: Registry, image: Image) -> Found | None:
    """The document beside the image in a registry, or None; raises UserError where it does not answer."""
    index = registry.index(image.name, image.tag)
    content = referrers.find(registry, image.name, index.digest, MEDIA_TYPE) if index else None
    if not index or content is None:
        return None
    return Found(content, f"from the registry, of {registry.address}/{image.name}@{index.digest} ({image.tag})")


def compiled(contents: Contents) -> Found:
    """The document of an image for which the registry has none; raises UserError."""
    platforms = ", ".join(map(str, sorted(contents.programs)))
    return Found(
        of(contents), f"from the programs made here for {platforms}: the registry has none of {contents.image.tag}"
    )


def of(contents: Contents) -> bytes:
    """The document of an image that was made here; raises UserError."""
    made = {
        platform: Made(_sha256(program.file), frozenset(_parts(contents.image, platform)))
        for platform, program in contents.programs.items()
    }
    return document(contents.image, made)


def document(image: Image, made: Mapping[Platform, Made]) -> bytes:
    """The document, of values alone.

    Left out are the time and the random serial number that the library gives to each: neither says
    anything of the image, and both would make two documents of one image differ.
    """
    bom = Bom()
    bom.metadata.component = root = Component(
        name=image.name,
        type=ComponentType.CONTAINER,
        version=image.version,
        description=image.about.description,
        licenses=[LicenseFactory().make_from_string(image.about.licenses)],
        bom_ref=image.name,
    )
    parts = {part: _component(part) for one in made.values() for part in sorted(one.parts)}
    programs = {platform: _program(image, platform, one) for platform, one in made.items()}
    web_ui = _web_ui(image)
    bom.components.update([*parts.values(), *programs.values(), *web_ui])
    bom.register_dependency(root, [*programs.values(), *web_ui])
    for platform, one in made.items():
        bom.register_dependency(programs[platform], [parts[part] for part in one.parts])
    written = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    del written["serialNumber"], written["metadata"]["timestamp"]
    return (json.dumps(written, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def go_parts(build_information: str) -> Iterator[Part]:
    """The modules that a Go program is made of, and Go's own library.

    Args:
        build_information: what `go version -m -json` prints; source: runtime/debug.BuildInfo.
    """
    found: dict[str, Any] = json.loads(build_information)
    yield Part(str(PackageURL("golang", None, "stdlib", found["GoVersion"].removeprefix("go"))))
    for module in (found.get("Main") or {}, *(found.get("Deps") or [])):
        used = module.get("Replace") or module
        if used.get("Version", "(devel)") != "(devel)":  # the folder of this clone is no module of anybody else's
            yield Part(str(_go_purl(used["Path"], used["Version"])), used.get("Sum", ""))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _parts(image: Image, platform: Platform) -> Iterable[Part]:
    if image.about.debian:
        package = debian.source(image, image.about.debian, platform)
        what = {"arch": "source", "distro": image.about.debian.suite}
        return [Part(str(PackageURL("deb", "debian", package.name, package.version, what)))]
    # A packed program does not tell it any more.
    return go_parts(run("go", "version", "-m", "-json", pack.before_packing(image, platform)))


def _go_purl(path: str, version: str, subpath: str | None = None) -> PackageURL:
    namespace, _, name = path.rpartition("/")
    return PackageURL("golang", namespace or None, name, version, subpath=subpath)


def _component(part: Part) -> Component:
    purl = PackageURL.from_string(part.purl)
    return Component(
        name=f"{purl.namespace}/{purl.name}" if purl.type == "golang" and purl.namespace else purl.name,
        version=purl.version,
        purl=purl,
        bom_ref=part.purl,
        properties=[Property(name="pishelf:go.sum", value=part.go_sum)] if part.go_sum else (),
    )


def _program(image: Image, platform: Platform, made: Made) -> Component:
    return Component(
        name=image.about.program,
        type=ComponentType.APPLICATION,
        version=image.version,
        bom_ref=f"{image.about.program} {platform}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=made.sha256)],
        properties=[Property(name="pishelf:platform", value=str(platform))],
    )


def _web_ui(image: Image) -> list[Component]:
    """The web interface as one component: what of npm it takes, the lock file in its source says."""
    if not image.about.go or not image.about.web_ui:
        return []
    purl = _go_purl(image.about.go.module, image.revision, image.about.web_ui.folder)
    return [
        Component(
            name=f"{image.name} web interface",
            type=ComponentType.APPLICATION,
            version=image.version,
            purl=purl,
            bom_ref=str(purl),
            description=f"Built by pnpm {image.about.web_ui.pnpm} from pnpm-lock.yaml in this folder of the module",
        )
    ]
