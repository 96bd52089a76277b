"""Programs -> multi-platform images, by the BuildKit inside an engine of the cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image import cache, recipe
from image.cluster import Cluster
from image.errors import UserError
from image.pack import Program
from image.plan import ROOT, Image, files
from image.platform import Platform
from image.published import ANNOTATION, annotation
from image.run import run

# Named contexts of the Dockerfiles, each laid out as it is to lie in the image, below its root, for COPY gives the
# folders that it copies their own times, and today's to those that it has to make:
# `programs` holds PLATFORM/bin/PROGRAM, `web_ui` what pnpm built, `data` the empty folder for the program's data.
_CONTEXTS = ("programs", "web_ui", "data")
INCOMING = "incoming"
"""The tag of what was pushed and not looked at yet."""
_TIMEOUT = 900


@dataclass(frozen=True)
class Contents:
    """What goes into an image, besides its folder."""

    image: Image
    programs: Mapping[Platform, Program]
    pack: bool
    """Whether packing was asked for."""
    web_ui: Path | None = None


def bake(images: Iterable[Contents], cluster: Cluster) -> None:
    """Make the images in the store of the engine on the registry's node; raises UserError, as BuildKit says."""
    _bake(tuple(images), cluster, push=False)


def bake_and_push(images: Iterable[Contents], cluster: Cluster) -> dict[str, str]:
    """Make the images, and send them to the registry under the tag INCOMING; their digests, by name.

    Their own tags are for `image.push` to give: what has one is whole.

    Raises:
        UserError: with BuildKit's last words.
    """
    images = tuple(images)
    told = _bake(images, cluster, push=True)
    return {contents.image.name: str(told[_key(contents)]["containerimage.digest"]) for contents in images}


def _bake(images: tuple[Contents, ...], cluster: Cluster, push: bool) -> dict[str, Any]:
    """Run BuildKit; what it tells of each target."""
    # Always the same place for a cluster: BuildKit fetches only what differs from the time before.
    work = ROOT / ".build" / "bake" / cluster.name
    shutil.rmtree(work, ignore_errors=True)
    for contents in images:
        _lay_out(contents, work / contents.image.name)
    told = work / "told.json"
    run(
        "buildx",
        "bake",
        "--progress=plain",
        f"--allow=fs.read={cache.folder()}",
        f"--metadata-file={told}",
        "--file=-",
        cwd=ROOT,
        env={
            **cluster.engine(cluster.registry_node).environment,
            **recipe.BUILD_ENVIRONMENT,
            "DOCKER_CONFIG": str(cluster.credentials),
            "BUILDX_CONFIG": str(ROOT / ".build" / "buildx"),
            "BUILDX_BUILDER": "",  # whatever builder this user has chosen is for something else
        },
        text=json.dumps(definition(images, cluster.registry, work, push)),
        timeout=_TIMEOUT,
        log=ROOT / ".build" / "log" / "bake.log",
    )
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found


def definition(images: Iterable[Contents], registry: str, work: Path, push: bool) -> dict[str, object]:
    """What buildx is told; source: Docker's Bake file reference.

    Args:
        work: holds a folder for each image, as it was laid out.
    """
    targets = {_key(contents): _target(contents, registry, work / contents.image.name, push) for contents in images}
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}


def _key(contents: Contents) -> str:
    """An image's name as a target of bake's."""
    return contents.image.name.replace(".", "_")


def _target(contents: Contents, registry: str, work: Path, push: bool) -> dict[str, object]:
    image = contents.image
    labels = recipe.labels(image)
    sizes = {platform: program.sizes for platform, program in contents.programs.items()}
    return {
        "context": str(work / "folder"),
        "contexts": {name: str(work / name) for name in _CONTEXTS},
        "platforms": [str(platform) for platform in sorted(contents.programs)],
        "args": recipe.BUILD_ARGUMENTS,
        "tags": [f"{registry}/{image.name}:{INCOMING}" if push else image.reference(registry)],
        "labels": labels,
        "annotations": [
            *(f"index,manifest:{key}={value}" for key, value in labels.items()),
            f"index:{ANNOTATION}={annotation(contents.pack, sizes)}",
        ],
        "output": [f"{recipe.OUTPUT},push={str(push).lower()}"],
    }


def _lay_out(contents: Contents, work: Path) -> None:
    """Put the programs where BuildKit's TARGETPLATFORM finds them, and a copy of the folder beside them."""
    about = contents.image.about
    try:
        for context in _CONTEXTS:
            (work / context).mkdir(parents=True)
        for platform, program in contents.programs.items():
            cache.link(program.file, work / "programs" / str(platform) / "bin" / program.file.name)
        if about.web_ui and contents.web_ui:
            target = work / "web_ui" / about.web_ui.target
            shutil.copytree(contents.web_ui, target, symlinks=True, copy_function=shutil.copyfile)
        if about.data:
            (work / "data" / about.data).mkdir(parents=True)
        for path in files(contents.image.folder):
            target = work / "folder" / path.relative_to(contents.image.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
        cache.settle(work)
    except OSError as error:
        raise UserError(f"cannot write {work}: {error.strerror}", "df -h") from error
