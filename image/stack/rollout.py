"""All that makes a stack: what a deploy tells the swarm, and what a revision remembers of it."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from image.cluster import Cluster
from image.errors import UserError
from image.run import run
from image.stack import outside
from image.stack.yaml_lines import parse

STACK = "shelf"
NAMESPACE_LABEL = "com.docker.stack.namespace"
"""What docker puts on all that belongs to a stack."""
# All that its command line may know of this environment: it would put the rest into services that ask for it.
_DOCKERS = re.compile(r"PATH|HOME|USER|TMPDIR|SSH_AUTH_SOCK|DOCKER_\w+|(HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)
# `docker stack deploy` only tells the manager; what takes long is watched afterwards.
_TELLING = 120


_BY_CONTENT = re.compile(rf"{STACK}_.+_[0-9a-f]{{12}}")


def object_name(key: str, data: bytes, driver: str = "") -> str:
    """The name in the swarm of a file that it hands out.

    It changes with the content, and with who fills it in: the swarm never changes these.
    """
    return f"{STACK}_{key}_{hashlib.sha256(driver.encode() + data).hexdigest()[:12]}"


def named_by_content(name: str) -> bool:
    """Whether a config of the stack has such a name; others are a person's own."""
    return _BY_CONTENT.fullmatch(name) is not None


@dataclass(frozen=True)
class Rollout:
    """A compose file and the files that it names, wherever the clone lies."""

    compose: str
    files: Mapping[str, bytes]
    """Contents by the path that the compose file has for them, which is relative to it."""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Reference by digest -> the tag that says its version to a person."""

    def found_at(self, registry: str, has: Callable[[str], bool]) -> dict[str, str]:
        """Those of the images by digest that a registry has, whatever its address was before -> their references there.

        Args:
            has: whether a reference by digest is in the registry.
        """
        by_digest = {reference for reference in self.images.values() if "@" in reference}
        there = {reference: f"{registry}/{reference.partition('/')[2]}" for reference in by_digest}
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = zip(there.items(), pool.map(has, there.values()), strict=True)
            return {reference: here for (reference, here), found in answers if found}

    def moved(self, references: Mapping[str, str]) -> Rollout:
        """The same with other references: the one before -> the one now."""
        compose = self.compose
        for before, now in references.items():
            compose = compose.replace(before, now)
        tags = {references.get(reference, reference): tag for reference, tag in self.tags.items()}
        return replace(self, compose=compose, tags=tags)

    def same(self, other: Rollout) -> bool:
        """Whether it is the same stack, wherever the registry was."""
        one, two = (rollout.moved(rollout.found_at("registry", lambda _: True)) for rollout in (self, other))
        return one == two

    def ours(self, registry: str) -> frozenset[str]:
        """The images by digest of the cluster's registry, at its address now or when this was rolled out."""
        addresses = {registry, *(reference.partition("/")[0] for reference in self.tags)}
        references = self.images.values()
        return frozenset(one for one in references if "@" in one and one.partition("/")[0] in addresses)

    @cached_property
    def parsed(self) -> Mapping[str, Any]:
        """The compose file's own structure, down to its services, configs and secrets, which are tables.

        Raises:
            UserError: it is not YAML, has no services, or one of these is no table.
        """
        try:
            found = dict(yaml.load(self.compose, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 - safe ones
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise UserError(f"the compose file is not YAML: {error}", "python -m image render") from error
        if not isinstance(found.get("services"), dict):
            raise UserError("the compose file has no services", "python -m image render")
        for kind in ("services", "configs", "secrets"):
            _refuse_what_is_no_table(kind, found.get(kind) or {})
            for name, entry in (found.get(kind) or {}).items():
                # An empty config or secret has its own name and no more to say; a service has an image.
                _refuse_what_is_no_table(f"{kind}.{name}", {} if entry is None and kind != "services" else entry)
        return found

    @property
    def images(self) -> dict[str, str]:
        """Service -> the reference of its image."""
        return {name: str(service.get("image", "")) for name, service in self.parsed["services"].items()}

    @property
    def configs(self) -> frozenset[str]:
        """The names in the swarm of its configs."""
        entries = self.parsed.get("configs") or {}
        return frozenset(str((entry or {}).get("name", f"{STACK}_{key}")) for key, entry in entries.items())

    @property
    def secrets(self) -> frozenset[str]:
        """The names in the swarm of the secrets that it needs there."""
        found = set()
        for key, entry in (self.parsed.get("secrets") or {}).items():
            if external := (entry or {}).get("external"):
                older = external.get("name") if isinstance(external, dict) else None  # as compose files had it once
                found.add(str(entry.get("name") or older or key))
        return frozenset(found)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Files that the compose file names and that are not among the files: a revision would not be whole.

        Nor may what a swarm remembers make docker read anything else of this machine.
        """
        named = [str(entry["file"]) for entry in (self.parsed.get("configs") or {}).values() if "file" in (entry or {})]
        named += self._variables
        specs = (service.get("credential_spec") for service in self.parsed["services"].values())
        named += [str(spec.get("file", "")) for spec in specs if isinstance(spec, dict)]
        elsewhere = [path for path in self.files if path.startswith("/") or ".." in Path(path).parts]
        return tuple(sorted({*elsewhere, *filter(None, named)} - ({*self.files} - {*elsewhere})))

    @property
    def _variables(self) -> list[str]:
        """Files of variables that its services name."""
        named: list[str] = []
        for service in self.parsed["services"].values():
            files = service.get("env_file") or []
            named += map(str, files if isinstance(files, list) else [files])
        return named

    def refuse_what_is_not_whole(self) -> None:
        """Raise UserError where it needs what it does not bring along, or would give away what is secret."""
        if self.lacking:
            raise UserError(
                f"the stack names files that do not belong to it: {', '.join(self.lacking)}",
                "put them into stack/configs",
            )
        found = [f"line {one.line}: {one.message}" for one in sorted(outside.findings(parse(self.compose)))]
        for path in self._variables:
            lines = (line.strip() for line in self.files[path].decode(errors="replace").splitlines())
            valueless = [line for line in lines if line and "=" not in line and not line.startswith("#")]
            found += [f"{path}: without a value docker takes {name} from your environment" for name in valueless]
        if found:
            said = "\n".join(f"  {one}" for one in found)
            raise UserError(
                f"the stack is no whole one, or would show what is secret:\n{said}",
                "python -m image render; for one of the swarm's another revision: python -m image history",
            )

    @contextmanager
    def laid_out(self) -> Iterator[Path]:
        """A folder with the files in it, for as long as docker reads them."""
        with tempfile.TemporaryDirectory(prefix="pishelf-") as name:
            for path, data in self.files.items():
                file = Path(name) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            yield Path(name)


def _refuse_what_is_no_table(name: str, value: object) -> None:
    if not isinstance(value, dict):
        said = "has nothing in it" if value is None else f"is {value!r}, and no table"
        raise UserError(f"{name} of the compose file {said}", "python -m image render")


def tell(rollout: Rollout, cluster: Cluster, environment: Mapping[str, str] | None = None) -> None:
    """Tell the manager, or whom the environment says, to run a stack; raises UserError with docker's words."""
    rollout.refuse_what_is_not_whole()
    with rollout.laid_out() as folder:
        run(
            *("docker", "stack", "deploy", "--prune", "--with-registry-auth"),
            # The references are digests: there is nothing to look up.
            *("--resolve-image", "never", "--compose-file", "-", STACK),
            cwd=folder,
            env={**cluster.environment, **(environment or {})},
            base={name: value for name, value in os.environ.items() if _DOCKERS.fullmatch(name)},
            text=rollout.compose,
            timeout=_TELLING,
        )
