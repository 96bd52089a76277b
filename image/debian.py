"""A static program out of a Debian package of any architecture; apt's signatures do the trusting."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from image import cache, causes, elf, recipe
from image.errors import UserError
from image.plan import Debian, Image
from image.platform import Platform
from image.run import LOGS, run

# What apt was told about this machine's way to the mirrors holds for another architecture's packages, too.
_SETTINGS = re.compile(r"Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|https?::Proxy)\b.* \"[^\"]+\";")
_SOURCE = "source.json"


@dataclass(frozen=True)
class Source:
    """The source package that a program was built from, and its version, which is Debian's own."""

    name: str
    version: str


def unpacked(image: Image, debian: Debian, platform: Platform) -> Path:
    """The program for a platform, taken from the package without installing it."""
    architecture = recipe.DEBIAN[str(platform)]
    parts = {
        "package": debian.package,
        "suite": debian.suite,
        "version": debian.version,
        "file": debian.file,
        "architecture": architecture,
        "beside": _SOURCE,
    }

    def make(folder: Path) -> None:
        # A tarball, which mmdebstrap writes as this user; a folder would be another user's where it is not root.
        tarball = folder / "tree.tar"
        settings = folder / "apt.conf"
        with causes.told():
            run(
                *("mmdebstrap", "--quiet", *_wanted(debian, settings)),
                f"--architectures={architecture}",
                *(debian.suite, str(tarball), *_sources(debian.suite)),
                log=LOGS / f"debian-{image.name}-{architecture}.log",
            )
        program = folder / image.about.program
        _take_out(tarball, debian, program)
        (folder / _SOURCE).write_text(json.dumps(asdict(_built_from(tarball, debian))), encoding="utf-8")
        elf.check(program, platform)
        settings.unlink(missing_ok=True)
        tarball.unlink()

    return cache.ensure("debian", parts, make) / image.about.program


def version(image: Image, debian: Debian) -> tuple[str, str]:
    """Upstream's version of the package that the suite has now, and Debian's own; nothing is installed.

    Raises:
        UserError: mmdebstrap is not installed, its mirror does not answer, or the package is not there.
    """
    with TemporaryDirectory() as folder:
        said = run(
            *("mmdebstrap", "--simulate", "--verbose", *_wanted(debian, Path(folder) / "apt.conf")),
            *(debian.suite, "/dev/null", *_sources(debian.suite)),
            log=LOGS / f"debian-{image.name}-version.log",
            both=True,
        )
    found = parse_version(said, debian.package)
    if found is None:
        raise UserError(f"what mmdebstrap says of {debian.suite} does not name {debian.package}: {said[-200:]!r}")
    return found


def parse_version(said: str, package: str) -> tuple[str, str] | None:
    """Upstream's version and Debian's own of a package that apt would install; None where it is not named.

    Source: Debian Policy 5.6.12, [epoch:]upstream-version[-debian-revision].
    """
    found = re.search(rf"^Inst {re.escape(package)} \((?:\d+:)?(\S+) ", said, re.MULTILINE)
    if not found:
        return None
    upstream = re.match(r"\d+(?:\.\d+)*", found[1].rpartition("-")[0] or found[1])
    return (upstream[0], found[1]) if upstream else None


def _wanted(debian: Debian, settings: Path) -> tuple[str, ...]:
    """Mmdebstrap's arguments for the package alone, with this machine's way to the mirrors."""
    lines = [line for line in _apt("apt-config", "dump") if _SETTINGS.match(line)]
    return ("--variant=extract", f"--include={debian.package}", *apt_options(lines, settings))


def apt_options(settings: Sequence[str], file: Path) -> tuple[str, ...]:
    """Mmdebstrap's arguments for lines of apt's configuration.

    A proxy's address may hold a password, and everyone can read arguments: then the lines go through
    `file`, closed to others; the caller removes it.
    """
    if not any("@" in line for line in settings):
        return tuple(f"--aptopt={line}" for line in settings)
    file.touch(mode=0o600)
    file.write_text("".join(f"{line}\n" for line in settings), encoding="utf-8")
    return (f"--aptopt={file}",)


def source(image: Image, debian: Debian, platform: Platform) -> Source:
    """What Debian built the program from; raises UserError."""
    file = unpacked(image, debian, platform).with_name(_SOURCE)
    return Source(**json.loads(file.read_text(encoding="utf-8")))


def parse_changelog(first_line: str) -> Source | None:
    """Read `busybox (1:1.37.0-6) unstable; urgency=medium`; source: Debian Policy 4.4."""
    found = re.match(r"(\S+) \(([^()\s]+)\)", first_line)
    return Source(found[1], found[2]) if found else None


def _built_from(tarball: Path, debian: Debian) -> Source:
    """The changelog of a package, which is the source package's."""
    name = f"./usr/share/doc/{debian.package}/changelog.Debian.gz"
    with tarfile.open(tarball) as tar, suppress(KeyError, OSError):
        if content := tar.extractfile(name):
            first_line = gzip.decompress(content.read()).partition(b"\n")[0]
            if found := parse_changelog(first_line.decode(errors="replace")):
                return found
    raise UserError(f"Debian's package {debian.package} has no changelog that says its version")


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
