"""A docker context: what `docker --context NAME` reads.

We write the files of Docker's context store ourselves: its command line may be missing where pyinfra
runs, and the Python SDK writes the key world-readable. Source: docker/cli, cli/context/store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pki.folder import DOCKERS_OWN, write_private

ENGINE_PORT = 2376
DEFAULT = DOCKERS_OWN
"""The context that stands in no store: DOCKER_HOST, or this machine's own engine."""
_MARK = ", by provisioning"
_TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


def docker_config_folder() -> Path:
    """Where this user's docker keeps its contexts."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def names(config: Path) -> list[str]:
    """The contexts that the store under `config` holds."""
    found = []
    for file in (config / "contexts" / "meta").glob("*/meta.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.append(str(json.loads(file.read_bytes())["Name"]))
    return sorted(found)


def current(config: Path) -> str:
    """The context that `docker context use` chose; `default` where nobody did."""
    try:
        return json.loads((config / "config.json").read_bytes()).get("currentContext") or DEFAULT
    except (OSError, ValueError, AttributeError):
        return DEFAULT


def certificates(name: str, config: Path) -> Path | None:
    """The folder with the client files of the context `name`; None where it needs none."""
    folder = _tls(name, config) / "docker"
    return folder if any((folder / file).exists() for file in _TLS_FILES) else None


def leads_to(name: str, config: Path) -> str | None:
    """The engine that the context `name` reaches, e.g. `tcp://192.168.1.11:2376`; None if there is no such context."""
    try:
        host = json.loads((_meta(name, config) / "meta.json").read_bytes())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or none of ours
    return host if isinstance(host, str) else None


def is_a_persons(name: str, config: Path) -> bool:
    """Whether there is a context `name` that something else made than `Context.write`."""
    try:
        said = json.loads((_meta(name, config) / "meta.json").read_bytes())["Metadata"]["Description"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return not str(said).endswith(_MARK)


def forget(name: str, host: str, config: Path) -> bool:
    """Remove the context `name` if it leads to `host`, and say whether it did."""
    if leads_to(name, config) != host:
        return False
    shutil.rmtree(_meta(name, config))
    shutil.rmtree(_tls(name, config), ignore_errors=True)
    return True


def _meta(name: str, config: Path) -> Path:
    return config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()


def _tls(name: str, config: Path) -> Path:
    return config / "contexts" / "tls" / hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True)
class Context:
    """A context called `name` that reaches the engine at `host` with the client files in `certificates`."""

    name: str
    host: str
    certificates: Path
    description: str = ""
    """In the file a mark follows it, which tells ours from a person's."""

    def _files(self, config: Path) -> dict[Path, bytes]:
        meta = {
            "Name": self.name,
            "Metadata": {"Description": f"{self.description}{_MARK}"},
            "Endpoints": {"docker": {"Host": self.host, "SkipTLSVerify": False}},
        }
        tls = _tls(self.name, config) / "docker"
        return {
            **{tls / file: (self.certificates / file).read_bytes() for file in _TLS_FILES},
            # Last, so that a context which can be seen can also be used.
            _meta(self.name, config) / "meta.json": json.dumps(meta).encode(),
        }

    def is_written(self, config: Path) -> bool:
        """Whether the store under `config` holds just this."""
        return all(path.exists() and path.read_bytes() == content for path, content in self._files(config).items())

    def write(self, config: Path) -> None:
        """Write or change the context; only this user can read it."""
        for path, content in self._files(config).items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, content)
