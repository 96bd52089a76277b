"""All that makes a stack: what a deploy tells the swarm, and what a revision remembers of it."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from image.cluster import Cluster
from image.errors import UserError
from image.run import run

STACK = "shelf"
NAMESPACE_LABEL = "com.docker.stack.namespace"
"""What docker puts on all that belongs to a stack."""
# `docker stack deploy` only tells the manager; what takes long is watched afterwards.
_TELLING = 120


_BY_CONTENT = re.compile(rf"{STACK}_.+_[0-9a-f]{{12}}")


def object_name(key: str, data: bytes) -> str:
    """The name in the swarm of a file that it hands out: it changes with the content, which the swarm never does."""
    return f"{STACK}_{key}_{hashlib.sha256(data).hexdigest()[:12]}"


def named_by_content(name: str) -> bool:
    """Whether a config or secret of the stack has such a name; others are a person's own."""
    return _BY_CONTENT.fullmatch(name) is not None


@dataclass(frozen=True)
class Rollout:
    """A compose file and the files that it names, wherever the clone lies."""

    compose: str
    files: Mapping[str, bytes]
    """Contents by the path that the compose file has for them, which is relative to it."""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Reference by digest -> the tag that says its version to a person."""

    @cached_property
    def content(self) -> str:
        """Twelve digits: the same for the same stack."""
        digest = hashlib.sha256()
        for part in (self.compose.encode(), *(part for item in sorted(self.files.items()) for part in item)):
            data = part if isinstance(part, bytes) else part.encode()
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()[:12]

    def at(self, registry: str, has: Callable[[str], bool]) -> Rollout:
        """The same, of a registry's images where it has them, whatever its address was before.

        Args:
            has: whether a reference by digest is in the registry.
        """
        moved = {
            reference: here
            for reference in self.images.values()
            if "@" in reference and has(here := f"{registry}/{reference.partition('/')[2]}")
        }
        compose = self.compose
        for reference, here in moved.items():
            compose = compose.replace(reference, here)
        tags = {moved.get(reference, reference): tag for reference, tag in self.tags.items()}
        return replace(self, compose=compose, tags=tags)

    @cached_property
    def parsed(self) -> Mapping[str, Any]:
        """The compose file's own structure; raises UserError where it is not YAML."""
        try:
            return dict(yaml.load(self.compose, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 - safe ones
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise UserError(f"the compose file is not YAML: {error}", "python -m image render") from error

    @property
    def images(self) -> dict[str, str]:
        """Service -> the reference of its image."""
        return {name: str(service.get("image", "")) for name, service in self.parsed["services"].items()}

    def objects(self, kind: str) -> frozenset[str]:
        """The names in the swarm of the `configs`, or of the `secrets`."""
        entries = self.parsed.get(kind) or {}
        return frozenset((entry or {}).get("name", f"{STACK}_{key}") for key, entry in entries.items())

    @property
    def lacking(self) -> tuple[str, ...]:
        """Files that the compose file names and that are not among the files: a revision would not be whole.

        Nor may what a swarm remembers make docker read anything else of this machine.
        """
        objects = [entry or {} for kind in ("configs", "secrets") for entry in (self.parsed.get(kind) or {}).values()]
        named = [str(entry["file"]) for entry in objects if "file" in entry]
        for service in self.parsed["services"].values():
            variables = service.get("env_file") or []
            named += [variables] if isinstance(variables, str) else variables
            named += [(service.get("credential_spec") or {}).get("file", "")]
        outside = [path for path in self.files if path.startswith("/") or ".." in Path(path).parts]
        return tuple(sorted({*outside, *filter(None, named)} - ({*self.files} - {*outside})))

    @contextmanager
    def laid_out(self) -> Iterator[Path]:
        """A folder with the files in it, for as long as docker reads them."""
        with tempfile.TemporaryDirectory(prefix="pishelf-") as name:
            for path, data in self.files.items():
                file = Path(name) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            yield Path(name)


def tell(rollout: Rollout, cluster: Cluster, environment: Mapping[str, str] | None = None) -> None:
    """Tell the manager, or whom the environment says, to run a stack; raises UserError with docker's words."""
    if rollout.lacking:
        raise UserError(
            f"the stack names files that do not belong to it: {', '.join(rollout.lacking)}",
            "put them into stack/configs",
        )
    with rollout.laid_out() as folder:
        run(
            *("docker", "stack", "deploy", "--prune", "--with-registry-auth"),
            # The references are digests: there is nothing to look up.
            *("--resolve-image", "never", "--compose-file", "-", STACK),
            cwd=folder,
            env={**cluster.environment, **(environment or {})},
            text=rollout.compose,
            timeout=_TELLING,
        )
