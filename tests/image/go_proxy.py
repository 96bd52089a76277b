"""A module proxy that is a folder: what the go command needs to find versions of modules made here.

Source: Go Modules Reference, "GOPROXY protocol".
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path


def publish(proxy: Path, module: str, version: str, files: Mapping[str, str], directives: str = "") -> None:
    """Put a version of a module into the proxy.

    Args:
        files: name -> content, besides go.mod.
        directives: what go.mod says besides its name and Go's version.
    """
    folder = proxy / module / "@v"
    folder.mkdir(parents=True, exist_ok=True)
    go_mod = f"module {module}\n\ngo 1.25\n\n{directives}"
    (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2026-01-02T03:04:05Z"}))
    (folder / f"{version}.mod").write_text(go_mod)
    with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
        for name, content in {"go.mod": go_mod, **files}.items():
            archive.writestr(f"{module}@{version}/{name}", content)
    with (folder / "list").open("a") as known:
        known.write(f"{version}\n")
