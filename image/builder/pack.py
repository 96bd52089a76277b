"""upx, and the starts that prove that a program, packed or not, runs on its platform.

A packed arm program may crash at its start although `upx -t` calls it good (upx/upx#18898, #901, #768), so
none is used that was not seen to start, several times.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from image import cache
from image.builder import causes, debian, elf, recipe, start
from image.builder.compile import compiled
from image.errors import UserError
from image.plan import Image
from image.platform import Platform
from image.run import ProgramError, run

_STARTS = 3


@dataclass(frozen=True)
class Sizes:
    """Bytes of a program; `packed` is None where it stays as it was compiled, and `notice` says why."""

    plain: int
    packed: int | None = None
    notice: str = ""


@dataclass(frozen=True)
class Program:
    """A program that was seen to start on its platform."""

    file: Path
    sizes: Sizes


def ready(image: Image, platform: Platform, pack: bool) -> Program:
    """The image's program for a platform, as it goes into the image; raises UserError."""
    plain = before_packing(image, platform)
    wanted = pack and image.about.pack
    parts = {
        "plain": plain.parent.name,
        "starts": asdict(image.about.starts),
        "times": _STARTS,
        "processor": asdict(start.processor(platform)),
        "upx": [*map(str, recipe.upx(Path("plain"), Path("packed"))), _upx_version()] if wanted else None,
    }

    def make(folder: Path) -> None:
        start.prove(plain, image, platform)
        target = folder / image.about.program
        sizes = packed(plain, target, image, platform) if wanted else Sizes(plain.stat().st_size)
        if sizes.packed is None:
            cache.link(plain, target)
        (folder / "sizes.json").write_text(json.dumps(asdict(sizes)), encoding="utf-8")

    entry = cache.ensure("program", parts, make)
    sizes = Sizes(**json.loads((entry / "sizes.json").read_text(encoding="utf-8")))
    return Program(entry / image.about.program, sizes)


def packed(plain: Path, target: Path, image: Image, platform: Platform) -> Sizes:
    """Pack a program and see it start; where it does not, remove it and say so in the sizes' notice.

    Raises:
        UserError: upx is not installed, or the machine is at fault: that a disk is full must not become a
            result, which later runs would take for the program's nature.
    """
    if not shutil.which("upx"):
        raise UserError("upx is not installed", "make setup, or build-all --no-upx")
    size = plain.stat().st_size
    why = "upx does not pack it"
    try:
        run(*recipe.upx(plain, target))
        why = "packed, it is no program for this platform"
        elf.check(target, platform)
        why = "packed, it does not start as it should"
        start.prove(target, image, platform, _STARTS)
    except UserError as error:
        target.unlink(missing_ok=True)
        if causes.is_machines(error):
            raise causes.known(error) from error
        # Not the error itself: this goes into the index, which is the same on every machine and names no folder of it.
        code = f" (ended with {error.code})" if isinstance(error, ProgramError) else ""
        return Sizes(size, None, f"stays unpacked: {why}{code}")
    return Sizes(size, target.stat().st_size)


def before_packing(image: Image, platform: Platform) -> Path:
    """The image's program for a platform, as it was compiled or taken from Debian; raises UserError."""
    if image.about.go:
        return compiled(image, image.about.go, platform)
    if image.about.debian:
        return debian.unpacked(image, image.about.debian, platform)
    raise UserError(f"{image.folder}: nothing says where the program comes from", "a table [go] or [debian]")


def _upx_version() -> str:
    return run("upx", "--version").partition("\n")[0] if shutil.which("upx") else ""
