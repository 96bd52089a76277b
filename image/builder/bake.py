"""Programs -> multi-platform images, by the BuildKit inside an engine of the cluster."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image import cache
from image.builder import recipe
from image.builder.pack import Program, Sizes
from image.cluster import Cluster
from image.errors import UserError
from image.plan import ROOT, Image, files
from image.platform import Platform
from image.run import LOGS, run

# What Dockerfiles copy from, each laid out as it is to lie in the image, below its root; for COPY gives the folders
# that it copies their own times, and today's to those that it has to make:
# `programs` holds PLATFORM/bin/PROGRAM, `web_ui` what pnpm built, `data` the empty folder for the program's data.
_CONTEXTS = ("programs", "web_ui", "data")
_FOLDER = "folder"
INCOMING = "incoming"
"""The tag of what was pushed and not looked at yet."""
ANNOTATION = "pishelf.programs"
"""On the index: whether packing was asked for, and each platform's sizes in bytes."""
_TIMEOUT = 900


@dataclass(frozen=True)
class Contents:
    """What goes into an image, besides its folder."""

    image: Image
    programs: Mapping[Platform, Program]
    pack: bool
    """Whether packing was asked for."""
    web_ui: Path | None = None


@dataclass(frozen=True)
class Layout:
    """An image's contexts on the disk.

    BuildKit keeps what it was sent, by the name of the folder that it came from, and is sent what changed: a file of
    another size or time. All files have one time here, so a change of the same size would not arrive; and a folder
    in which a file arrives gets today's time. So each folder is named after what lies in it, and arrives whole.
    """

    tree: Path
    fingerprint: str

    def context(self, name: str) -> Path:
        """The folder of a context."""
        return self.tree / f"{name}-{self.fingerprint}"


def bake(images: Iterable[Contents], cluster: Cluster) -> None:
    """Make the images in the store of the engine on the registry's node; raises UserError, as BuildKit says."""
    _bake(tuple(images), cluster, push=False)


def bake_and_push(images: Iterable[Contents], cluster: Cluster) -> dict[str, str]:
    """Make the images, and send them to the registry under the tag INCOMING; their digests, by name.

    Their own tags are for `image.builder.push` to give: what has one is whole.

    Raises:
        UserError: with BuildKit's last words.
    """
    images = tuple(images)
    told = _bake(images, cluster, push=True)
    return {contents.image.name: str(told[_key(contents)]["containerimage.digest"]) for contents in images}


def _bake(images: tuple[Contents, ...], cluster: Cluster, push: bool) -> dict[str, Any]:
    """Run BuildKit; what it tells of each target."""
    work = ROOT / ".build" / "bake" / cluster.name
    shutil.rmtree(work, ignore_errors=True)
    layouts = [lay_out(contents, work / contents.image.name) for contents in images]
    definitions = definition(zip(images, layouts, strict=True), cluster.registry, push)
    file = _written(work / "bake.json", definitions)
    told = work / "told.json"
    run(
        "buildx",
        "bake",
        "--progress=plain",
        f"--metadata-file={told}",
        f"--file={file}",
        cwd=ROOT,
        env={
            **cluster.engine(cluster.registry_node).environment,
            **recipe.BUILD_ENVIRONMENT,
            "DOCKER_CONFIG": str(cluster.credentials),
            "BUILDX_CONFIG": str(ROOT / ".build" / "buildx"),
            "BUILDX_BUILDER": "",  # whatever builder this user has chosen is for something else
        },
        timeout=_TIMEOUT,
        log=LOGS / "bake.log",
    )
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found


def definition(images: Iterable[tuple[Contents, Layout]], registry: str, push: bool) -> dict[str, object]:
    """What buildx is told; source: Docker's Bake file reference."""
    targets = {_key(contents): _target(contents, layout, registry, push) for contents, layout in images}
    return {"group": {"default": {"targets": list(targets)}}, "target": targets}


def _key(contents: Contents) -> str:
    """An image's name as a target of bake's."""
    return contents.image.name.replace(".", "_")


def _target(contents: Contents, layout: Layout, registry: str, push: bool) -> dict[str, object]:
    image = contents.image
    labels = recipe.labels(image)
    sizes = {platform: program.sizes for platform, program in contents.programs.items()}
    return {
        "context": str(layout.context(_FOLDER)),
        "contexts": {name: str(layout.context(name)) for name in _CONTEXTS},
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


def annotation(pack: bool, sizes: Mapping[Platform, Sizes]) -> str:
    """What `image.builder.published` reads."""
    values = {
        str(platform): {key: value for key, value in vars(size).items() if value} for platform, size in sizes.items()
    }
    return json.dumps({"pack": pack, "sizes": dict(sorted(values.items()))}, separators=(",", ":"))


def _written(file: Path, told: dict[str, object]) -> Path:
    """A file, not standard input: so a person who was shown the command can run it."""
    try:
        file.write_text(json.dumps(told, indent=1), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}", "df -h") from error
    return file


def lay_out(contents: Contents, tree: Path) -> Layout:
    """Put the programs where BuildKit's TARGETPLATFORM finds them, and a copy of the folder beside them."""
    about = contents.image.about
    try:
        for context in _CONTEXTS:
            (tree / context).mkdir(parents=True)
        for platform, program in contents.programs.items():
            cache.link(program.file, tree / "programs" / str(platform) / "bin" / program.file.name)
        if about.web_ui and contents.web_ui:
            shutil.copytree(contents.web_ui, tree / "web_ui" / about.web_ui.target, symlinks=True)
        if about.data:
            (tree / "data" / about.data).mkdir(parents=True)
        for path in files(contents.image.folder):
            target = tree / _FOLDER / path.relative_to(contents.image.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
        settle(tree)
        layout = Layout(tree, fingerprint(tree))
        for context in (*_CONTEXTS, _FOLDER):
            (tree / context).rename(layout.context(context))
    except OSError as error:
        raise UserError(f"cannot write {tree}: {error.strerror}", "df -h") from error
    return layout


def settle(tree: Path) -> None:
    """Give all files the same time, and modes that do not depend on this user's umask.

    So that layers made of them are the same wherever and whenever they are made.
    """
    for path in (*tree.rglob("*"), tree):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (0, 0), follow_symlinks=False)


def fingerprint(tree: Path) -> str:
    """Twelve digits that change with any file below a folder: its name, whether it is a program, its content."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        else:
            content = b""
        for part in (os.fsencode(path.relative_to(tree)), oct(path.lstat().st_mode).encode(), content):
            digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:12]
