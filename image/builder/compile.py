"""A Go program × a platform -> a file, compiled once for all clones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from image import cache
from image.builder import causes, elf, recipe
from image.errors import UserError
from image.plan import DESCRIPTION, Go, Image, files
from image.platform import Platform
from image.run import LOGS, run

_NOT_GO = ("Dockerfile", DESCRIPTION)


def compiled(image: Image, go: Go, platform: Platform) -> Path:
    """The program, compiled for a platform; raises UserError with the compiler's last words."""
    words = recipe.go_build(go, image.version)
    environment = recipe.go_environment(platform)
    # All files, for a program may embed any of them; Go's own cache makes a needless compile a quick one.
    sources = [path for path in files(image.folder) if path.is_file() and path.name not in _NOT_GO]
    parts = {
        "go": image.toolchain,
        "words": [*words, go.package],
        "program": image.about.program,
        "environment": environment,
        "sources": {
            path.relative_to(image.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sources
        },
    }

    def make(folder: Path) -> None:
        target = folder / image.about.program
        log = LOGS / f"compile-{image.name}-{str(platform).replace('/', '-')}.log"
        with causes.told(image.folder):
            run(*words, "-o", target, go.package, cwd=image.folder, env=environment, log=log)
        elf.check(target, platform)
        # Arm's variants have the same header; Go writes down for which one it compiled.
        told = set(run("go", "version", "-m", target).split())
        if lacking := {f"{key}={value}" for key, value in recipe.go_target(platform).items()} - told:
            raise UserError(f"{target} is not for {platform}: its build information lacks {', '.join(sorted(lacking))}")

    return cache.ensure("compiled", parts, make) / image.about.program


def module_source(image: Image, go: Go) -> Path:
    """Where Go keeps the source of the image's module; it is verified against go.sum. Read-only."""
    with causes.told(image.folder):
        run("go", "mod", "download", go.module, cwd=image.folder, env=recipe.GO_ENVIRONMENT)
    words = ("go", "list", "-m", "-f", "{{.Dir}}", go.module)
    return Path(run(*words, cwd=image.folder, env=recipe.GO_ENVIRONMENT).strip())
