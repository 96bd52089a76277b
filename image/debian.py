"""A static program out of a Debian package of any architecture; apt's signatures do the trusting."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from image import cache, elf, recipe
from image.compile import LOGS
from image.errors import UserError
from image.plan import Debian, Image
from image.platform import Platform
from image.run import run

# What apt was told about this machine's way to the mirrors holds for another architecture's packages, too.
_SETTINGS = re.compile(r"Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|https?::Proxy)\b.* \"[^\"]+\";")


def unpacked(image: Image, debian: Debian, platform: Platform) -> Path:
    """The program for a platform, taken from the package without installing it."""
    architecture = recipe.DEBIAN[str(platform)]
    parts = {
        "package": debian.package,
        "suite": debian.suite,
        "version": debian.version,
        "file": debian.file,
        "architecture": architecture,
    }

    def make(folder: Path) -> None:
        tree = folder / "tree"
        settings = folder / "apt.conf"
        # A file and not arguments: a proxy's address may hold a password, and everyone can read arguments.
        settings.touch(mode=0o600)
        settings.write_text("".join(f"{line}\n" for line in _apt("apt-config", "dump") if _SETTINGS.match(line)))
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=extract",
            f"--architectures={architecture}",
            f"--include={debian.package}",
            f"--aptopt={settings}",
            debian.suite,
            tree,
            *_sources(debian.suite),
            log=LOGS / f"debian-{image.name}-{architecture}.log",
        )
        found = tree / debian.file
        if not found.is_file():
            raise UserError(f"Debian's package {debian.package} has no file {debian.file} in {debian.suite}")
        elf.check(found, platform)
        found.rename(folder / image.about.program)
        settings.unlink()
        shutil.rmtree(tree)

    return cache.ensure("debian", parts, make) / image.about.program


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
