"""Whether a program starts on a platform.

It runs on this machine's processor if that is the same, else on one that qemu plays: one as old as the
oldest Pi of that platform.
"""

from __future__ import annotations

import platform as machine
from dataclasses import dataclass
from pathlib import Path

from image.builder import recipe
from image.errors import UserError
from image.plan import DESCRIPTION, Image
from image.platform import Platform
from image.run import LateError, run

_TIMEOUT = 30  # seconds
_EMULATED = 120


@dataclass(frozen=True)
class Processor:
    """What plays a processor; with no program, this machine's own."""

    program: str = ""
    model: str = ""


# With these, an instruction that the Pi lacks ends the program, as it would there.
_PROCESSORS = {
    "linux/arm/v6": Processor("qemu-arm", "arm1176"),  # Pi 1, Zero
    "linux/arm/v7": Processor("qemu-arm", "cortex-a7"),  # Pi 2
    "linux/arm64": Processor("qemu-aarch64", "cortex-a53"),  # Pi 3
    "linux/amd64": Processor("qemu-x86_64"),
}


def processor(platform: Platform) -> Processor:
    """What runs a platform's programs here."""
    own = machine.machine() in ("x86_64", "aarch64") and platform == Platform.of_machine(machine.machine())
    return Processor() if own else _PROCESSORS[str(platform)]


def prove(program: Path, image: Image, platform: Platform, times: int = 1) -> None:
    """Start the program `times` times; raises UserError unless each shows what the image promises."""
    player = processor(platform)
    words = (player.program, program) if player.program else (program,)
    environment = {"QEMU_CPU": player.model} if player.model else {}
    timeout = _EMULATED if player.program else _TIMEOUT
    expected = recipe.with_version(image.about.starts.shows, image.version)
    for _ in range(times):
        try:
            shown = run(*words, *image.about.starts.arguments, env=environment, timeout=timeout, both=True)
        except LateError as error:
            file = image.folder / DESCRIPTION
            raise UserError(error.message, f"[starts] arguments in {file} must make it print and end") from error
        if expected not in shown:
            first = shown.strip().partition("\n")[0]
            raise UserError(
                f"{program} does not show {expected!r} on {platform}, but {first!r}",
                f"[starts] shows in {image.folder / DESCRIPTION} must be a part of what it prints",
            )
