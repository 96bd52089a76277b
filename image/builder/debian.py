"""A static program out of a Debian package of any architecture; apt's signatures do the trusting."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from image import cache
from image.builder import causes, elf, recipe
from image.errors import UserError
from image.plan import DESCRIPTION, Debian, Image
from image.platform import Platform
from image.run import LOGS, ProgramError, run

# What apt was told about this machine's way to the mirrors holds for another architecture's packages, too.
_SETTINGS = re.compile(r"Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|https?::Proxy)\b.* \"[^\"]+\";")
_SOURCE = "source.json"
_NO_SUCH_ARCHITECTURE = "did not find any indices for architecture"


@dataclass(frozen=True)
class Source:
    """The source package that a program was built from, and its version, which is Debian's own."""

    name: str
    version: str


def unpacked(image: Image, debian: Debian, platform: Platform) -> Path:
    """The program for a platform, taken from the package without installing it.

    Raises:
        UserError: mmdebstrap fails, or the suite has another version by now than image.toml pins.
    """
    architecture = recipe.DEBIAN[str(platform)]
    parts = {
        "package": debian.package,
        "suite": debian.suite,
        "version": debian.version,
        "file": debian.file,
        "program": image.about.program,
        "architecture": architecture,
        "beside": _SOURCE,
    }

    def make(folder: Path) -> None:
        # A tarball, which mmdebstrap writes as this user; a folder would be another user's where it is not root.
        tarball = folder / "tree.tar"
        _mmdebstrap(image, debian, architecture, "--quiet", target=tarball)
        changelogs = _changelogs(tarball, debian, architecture)
        _check(changelogs[-1].version, image, debian, architecture)
        program = folder / image.about.program
        _take_out(tarball, debian, program)
        (folder / _SOURCE).write_text(json.dumps(asdict(changelogs[0])), encoding="utf-8")
        elf.check(program, platform)
        tarball.unlink()

    return cache.ensure("debian", parts, make) / image.about.program


def newest(image: Image, debian: Debian) -> str:
    """The version to pin, of all architectures, as `Debian.version` writes it; raises UserError as `version`."""
    with ThreadPoolExecutor() as pool:
        found = tuple(pool.map(lambda each: version(image, debian, each), recipe.DEBIAN.values()))
    return newest_of({each for each in found if each}, debian)


def newest_of(versions: Collection[str], debian: Debian) -> str:
    """The last rebuild that an architecture has of the source; raises UserError where there are several sources."""
    if len({source_and_rebuild(each)[0] for each in versions}) > 1:
        raise UserError(
            f"{debian.suite} is about to get another {debian.package}: {' and '.join(sorted(versions))}",
            "the same command tomorrow, when Debian has built it for all",
        )
    if not versions:
        raise UserError(f"{debian.suite} has none of {', '.join(recipe.DEBIAN.values())}", "another suite")
    return max(versions, key=source_and_rebuild)


def source_and_rebuild(version: str) -> tuple[str, int]:
    """`1.37.0-6+b9` is the ninth rebuild of 1.37.0-6; source: Debian's Developer's Reference, 5.10.2.1."""
    source, _, rebuild = version.rpartition("+b")
    return (source, int(rebuild)) if source and rebuild.isdecimal() else (version, 0)


def is_as_pinned(found: str, pinned: str) -> bool:
    """Whether the pin means what an architecture has: the rebuilds of one source are not numbered alike on all."""
    (source, rebuild), (ours, last) = source_and_rebuild(found), source_and_rebuild(pinned)
    return source == ours and rebuild <= last


def parse_version(said: str, package: str) -> str | None:
    """The version of a package that apt would install, without its epoch; None where it is not named."""
    found = re.search(rf"^Inst {re.escape(package)} \((?:\d+:)?(\S+) ", said, re.MULTILINE)
    return found[1] if found else None


def version(image: Image, debian: Debian, architecture: str) -> str | None:
    """What the suite has for an architecture, None where it is not for that at all; nothing is installed.

    Raises:
        UserError: mmdebstrap is not installed, its mirror does not answer, or the package is not there.
    """
    try:
        said = _mmdebstrap(image, debian, architecture, "--simulate", "--verbose", target=Path("/dev/null"))
    except ProgramError as error:
        if _NO_SUCH_ARCHITECTURE in error.output:
            return None
        raise
    found = parse_version(said, debian.package)
    if found is None:
        raise UserError(f"what mmdebstrap says of {debian.suite} does not name {debian.package}: {said[-200:]!r}")
    return found


def _check(found: str, image: Image, debian: Debian, architecture: str) -> None:
    """Whether the package is the pinned one; a suite keeps no old ones, so another needs another pin."""
    bare = found.partition(":")[2] or found
    if not is_as_pinned(bare, debian.version):
        raise UserError(
            f"{debian.suite} has {debian.package} {bare} for {architecture} now, "
            f"and {image.folder / DESCRIPTION} pins {debian.version}",
            f"python -m image bump {image.name}, then the same command",
        )


def _mmdebstrap(image: Image, debian: Debian, architecture: str, *words: str, target: Path) -> str:
    """Unpack the package alone, by this machine's way to the mirrors; returns all that it said."""
    settings = [line for line in _apt("apt-config", "dump") if _SETTINGS.match(line)]
    with TemporaryDirectory() as folder, causes.told():
        return run(
            *("mmdebstrap", *words, "--variant=extract", f"--include={debian.package}"),
            *(f"--architectures={architecture}", *apt_options(settings, Path(folder) / "apt.conf")),
            *(debian.suite, str(target), *closed(_sources(debian.suite), Path(folder) / "sources.list")),
            log=LOGS / f"debian-{image.name}-{architecture}.log",
            both=True,
        )


def apt_options(settings: Sequence[str], file: Path) -> tuple[str, ...]:
    """Mmdebstrap's arguments for lines of apt's configuration; `file` as for `closed`."""
    return tuple(f"--aptopt={argument}" for argument in closed(settings, file))


def closed(lines: Sequence[str], file: Path) -> tuple[str, ...]:
    """Lines as arguments of mmdebstrap, which takes a file with them as well.

    A proxy's or a mirror's address may hold a password, and everyone can read arguments: then the lines go
    into `file`, which is closed to others; the caller removes it.
    """
    if not any("@" in line for line in lines):
        return tuple(lines)
    file.touch(mode=0o600)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return (str(file),)


def source(image: Image, debian: Debian, platform: Platform) -> Source:
    """What Debian built the program from; raises UserError."""
    file = unpacked(image, debian, platform).with_name(_SOURCE)
    return Source(**json.loads(file.read_text(encoding="utf-8")))


def parse_changelog(first_line: str) -> Source | None:
    """Read `busybox (1:1.37.0-6) unstable; urgency=medium`; source: Debian Policy 4.4."""
    found = re.match(r"(\S+) \(([^()\s]+)\)", first_line)
    return Source(found[1], found[2]) if found else None


def _changelogs(tarball: Path, debian: Debian, architecture: str) -> tuple[Source, ...]:
    """What a package's changelogs say: the source's first, then, where it was rebuilt, that of the architecture."""
    found = []
    with tarfile.open(tarball) as tar:
        for name in ("changelog.Debian.gz", f"changelog.Debian.{architecture}.gz"):
            with suppress(KeyError, OSError):
                if content := tar.extractfile(f"./usr/share/doc/{debian.package}/{name}"):
                    first_line = gzip.decompress(content.read()).partition(b"\n")[0]
                    found.append(parse_changelog(first_line.decode(errors="replace")))
    told = tuple(each for each in found if each)
    if not told:
        raise UserError(f"Debian's package {debian.package} has no changelog that says its version")
    return told


def _take_out(tarball: Path, debian: Debian, program: Path) -> None:
    """One file of a tarball, as a program."""
    with tarfile.open(tarball) as tar:
        for name in (debian.file, f"./{debian.file}"):
            with suppress(KeyError):
                if content := tar.extractfile(name):
                    program.write_bytes(content.read())
                    program.chmod(0o755)
                    return
    raise UserError(f"Debian's package {debian.package} has no file {debian.file} in {debian.suite}")


def _sources(suite: str) -> tuple[str, ...]:
    """The mirror that this machine uses itself, where it is a Debian; else none: mmdebstrap knows one.

    Not the suite of security updates: its index is ten times the package, and a static program out of
    a package needs no more than the point release has.
    """
    for line in _apt("apt-get", "indextargets", "--format", "$(LABEL)|$(SUITE)|$(REPO_URI)", "Created-By: Packages"):
        label, _, uri = line.split("|", 2)
        if label == "Debian":
            return (f"deb {uri} {suite} main",)
    return ()


def _apt(*words: str) -> list[str]:
    return run(*words).splitlines() if shutil.which(words[0]) else []
