"""Makes the program of a folder as `build-all` would, without a swarm: a process that a test can interrupt.

Usage: python -m tests.image.make_hello FOLDER [PLATFORM]...
"""

from __future__ import annotations

import sys
from pathlib import Path

from image import progress
from image.builder import pipeline
from image.errors import UserError
from image.plan import Plan
from image.platform import Platform
from image.run import end_as_by_ctrl_c
from tests.image.programs import OWN, describe


def main(folder: Path, platforms: tuple[Platform, ...]) -> int:
    """Print what was made and how large it is; exit code 1 with the message where it was not."""
    image = describe(folder)
    try:
        with progress.shown(len(platforms)) as told:
            (made,) = pipeline.make([image], Plan((image,), platforms), {}, 2, told)
    except UserError as error:
        print(f"Error: {error.message}", file=sys.stderr)  # noqa: T201 - as click does
        return 1
    for program in made.programs.values():
        print(program.file, program.sizes.plain, program.sizes.packed, program.sizes.notice)  # noqa: T201
    return 0


if __name__ == "__main__":
    end_as_by_ctrl_c()
    sys.exit(main(Path(sys.argv[1]), tuple(map(Platform.parse, sys.argv[2:])) or (OWN,)))
