"""`stack/mirrors.toml`: which images of others the cluster's registry is to have."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from image import table
from image.errors import UserError
from image.plan import ROOT
from image.registry.reference import DIGEST, Reference

FILE = ROOT / "stack" / "mirrors.toml"
ALL = "all"
"""In the place of a list of platforms: whatever upstream's index has."""
FOLDER = "mirror"
"""Before a mirrored image's name in the cluster's registry, so that none of our own has the same."""

# A template writes `mirrors.portainer`.
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HEAD = """\
# Images that are copied from elsewhere into the cluster's own registry; docs/registry.md, "Mirror".
# `python -m image mirror` writes this file anew when it has copied one: what you want to say of one
# stays if it is its `note`. `enabled = true`: a deploy needs it, and `mirror` alone sees to it.
"""


@dataclass(frozen=True)
class Mirror:
    """One image of others, as the file describes it."""

    name: str
    source: Reference
    enabled: bool = True
    note: str = ""
    platforms: tuple[str, ...] = (ALL,)
    digest: str = ""
    """Of what the source's tag meant when it was mirrored; empty before."""
    index: str = ""
    """Of the index in the cluster's registry. It is upstream's own, byte for byte, unless only some of its
    platforms were wanted or upstream has one image and no index."""

    @property
    def repository(self) -> str:
        """Where it is in the cluster's registry."""
        return f"{FOLDER}/{self.name}"

    @property
    def tag(self) -> str:
        """Its tag there. It never moves: upstream's may, and a rollback wants what was there before."""
        return "-".join(filter(None, (self.source.tag[:100], self.index.removeprefix("sha256:")[:12])))

    def reference(self, registry: str) -> str:
        """Where it is in a registry, by digest."""
        return f"{registry}/{self.repository}@{self.index}"

    def __str__(self) -> str:
        return f"{self.name} ({self.source})"


@dataclass(frozen=True)
class _Entry:
    """One table of the file, key by key; the table's own name is the image's."""

    source: str
    enabled: bool = True
    note: str = ""
    platforms: tuple[str, ...] = (ALL,)
    digest: str = ""
    index: str = ""


def check_name(name: str) -> None:
    """Raise UserError unless a template can say the name."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for a mirrored image", "a lower-case letter, then letters, digits and _")


def read(file: Path = FILE) -> dict[str, Mirror]:
    """All that the file describes, by name; raises UserError. A file that is not there describes nothing."""
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: {error}") from error


def parse(text: str, where: str) -> dict[str, Mirror]:
    """Read the file's text; raises UserError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: {error}", "key = value, with text in double quotes") from error
    return {name: _parse(name, content, f"{where}: [{name}]") for name, content in sorted(tables.items())}


def _parse(name: str, content: Any, where: str) -> Mirror:
    check_name(name)
    if not isinstance(content, dict):
        raise UserError(f"{where} is not a table", f'[{name}], and under it source = "…"')
    entry = table.parse(_Entry, content, where)
    for key, value in (("digest", entry.digest), ("index", entry.index)):
        if value and not DIGEST.fullmatch(value):
            raise UserError(f"{where}: {key} = {value!r} is not a digest", f"remove the line; mirror {name} finds it")
    if bool(entry.digest) != bool(entry.index):
        raise UserError(f"{where}: digest and index belong together", f"remove the one; mirror {name} finds both")
    return Mirror(**{**asdict(entry), "name": name, "source": Reference.parse(entry.source)})


def record(mirror: Mirror, file: Path = FILE) -> None:
    """Write the file with this entry new or changed; whole or not at all. Raises UserError."""
    there = read(file)
    if there.get(mirror.name) == mirror:
        return
    text = dump({**there, mirror.name: mirror}.values())
    work = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        with work.open("w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        work.replace(file)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}", "df -h, or ls -l on its folder") from error
    finally:
        work.unlink(missing_ok=True)


def dump(mirrors: Iterable[Mirror]) -> str:
    """The file's text: sorted by name, keys always in the same order, nothing that stands for itself."""
    entries = sorted(mirrors, key=lambda mirror: mirror.name)
    return "\n".join([_HEAD, *(f"[{mirror.name}]\n{_lines(mirror)}" for mirror in entries)])


def _lines(mirror: Mirror) -> str:
    values = {**asdict(mirror), "source": str(mirror.source), "platforms": list(mirror.platforms)}
    defaults: Mapping[str, object] = {"note": "", "digest": "", "index": ""}
    return "".join(
        # A JSON text, truth value or list of texts is one of TOML, too; DEL alone would have to be escaped.
        f"{field.name} = {json.dumps(values[field.name], ensure_ascii=False)}\n".replace("\x7f", "\\u007F")
        for field in fields(_Entry)
        if values[field.name] != defaults.get(field.name)
    )
