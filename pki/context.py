"""A docker context: what `docker --context NAME` reads.

We write the files of Docker's context store ourselves: its command line may be missing where pyinfra
runs, and the Python SDK writes the key world-readable. Source: docker/cli, cli/context/store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pki.folder import write_private

ENGINE_PORT = 2376
_TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


def docker_config_folder() -> Path:
    """Where this user's docker keeps its contexts."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def forget(name: str, host: str, config: Path) -> bool:
    """Remove the context `name` if it leads to `host`, and say whether it did."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = config / "contexts" / "meta" / digest
    try:
        leads_to = json.loads((meta / "meta.json").read_bytes())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # none, or none of ours
    if leads_to != host:
        return False
    shutil.rmtree(meta)
    shutil.rmtree(config / "contexts" / "tls" / digest, ignore_errors=True)
    return True


@dataclass(frozen=True)
class Context:
    """A context called `name` that reaches the engine at `host` with the client files in `certificates`."""

    name: str
    host: str
    certificates: Path
    description: str = ""

    def _files(self, config: Path) -> dict[Path, bytes]:
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        meta = {
            "Name": self.name,
            "Metadata": {"Description": self.description},
            "Endpoints": {"docker": {"Host": self.host, "SkipTLSVerify": False}},
        }
        tls = config / "contexts" / "tls" / digest / "docker"
        return {
            **{tls / file: (self.certificates / file).read_bytes() for file in _TLS_FILES},
            # Last, so that a context which can be seen can also be used.
            config / "contexts" / "meta" / digest / "meta.json": json.dumps(meta).encode(),
        }

    def is_written(self, config: Path) -> bool:
        """Whether the store under `config` holds just this."""
        return all(path.exists() and path.read_bytes() == content for path, content in self._files(config).items())

    def write(self, config: Path) -> None:
        """Write or change the context; only this user can read it."""
        for path, content in self._files(config).items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, content)
