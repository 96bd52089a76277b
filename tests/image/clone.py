"""Another clone of the project on another person's computer, for what differs from this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT, Done, Lab


class Clone:
    """Another clone of the project on another person's computer, with a stack of its own."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self._folder, self._lab = folder, lab
        names = ("image", "pki", "stack", *(path.parent.name for path in ROOT.glob("*/image.toml")))
        for name in names:
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self._folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def image(self, *argv: str, given: str = "", folder: Path | None = None) -> Done:
        """`python -m image …` of this clone, logged in as the tests' own, or by the login in another folder.

        Args:
            given: on its standard input.
        """
        return self.ended(self.begun(*argv, folder=folder), given)

    def begun(self, *argv: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """The same, which goes on meanwhile."""
        login = ("--credentials", str(folder or self._lab.folder))
        return subprocess.Popen(
            [sys.executable, "-m", "image", "--context", self._lab.name, *login, *argv], cwd=self._folder,
            env={**os.environ, "NO_COLOR": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ended(self, running: subprocess.Popen[str], given: str = "") -> Done:
        with running:
            stdout, stderr = running.communicate(given)
        return Done(tuple(running.args), running.returncode, stdout, stderr)  # type: ignore[arg-type]
