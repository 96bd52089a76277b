"""What each revision changed in the one before it, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from image.registry.reference import shortened
from image.stack.history import Revision
from image.stack.rollout import Rollout


@dataclass(frozen=True)
class Entry:
    """One revision, and how it differs from the one before it that the swarm remembers."""

    revision: Revision
    last: bool
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    """Services that are otherwise the same, but not described as before."""
    images: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of those, service -> the versions before and after, where the image is another."""
    files: tuple[str, ...] = ()
    """Configs that are new, gone, or have other contents."""
    secrets: tuple[str, ...] = ()
    """Secrets that are new, gone, or have another value."""

    @property
    def values(self) -> dict[str, Any]:
        """For programs; the last revision is the one that was rolled out last."""
        about = {key: getattr(self.revision, key) for key in ("number", "state", "time", "by", "source", "note")}
        own = {key: getattr(self, key) for key in ("last", "added", "removed", "changed", "images", "files", "secrets")}
        return {**about, **own, "references": self.revision.rollout.images}

    @property
    def sentence(self) -> str:
        """What changed, in one line."""
        if not self.revision.readable:
            return "cannot be read"
        parts = [f"{name} {old} -> {new}" for name, (old, new) in self.images.items()]
        others = [name for name in self.changed if name not in self.images]
        for word, names in (
            ("new", self.added),
            ("gone", self.removed),
            ("settings of", others),
            ("files", self.files),
            ("secrets", self.secrets),
        ):
            if names:
                parts.append(f"{word} {', '.join(names)}")
        return "; ".join(parts) or "nothing but words"


def entries(revisions: Sequence[Revision]) -> tuple[Entry, ...]:
    """The newest first.

    Args:
        revisions: the oldest first.
    """
    found = []
    before = None
    for revision in revisions:
        found.append(_entry(before, revision, revision is revisions[-1]))
        before = revision if revision.readable else before
    return tuple(reversed(found))


def lines(found: Sequence[Entry]) -> list[str]:
    """For people: a line of who and when, one of what."""
    said = []
    for entry in found:
        one = entry.revision
        source = f" ({one.source})" if one.source else ""
        time = one.time.replace("T", " ").replace("+00:00", " UTC")
        words = (f"{'*' if entry.last else ' '} {one.number:>3}", time, one.state, f"{one.by}{source}", one.note)
        said += ["  ".join(filter(None, words)), f"       {entry.sentence}"]
    return said


def _entry(before: Revision | None, revision: Revision, last: bool) -> Entry:
    if before is None or not revision.readable:
        return Entry(revision, last, added=tuple(revision.rollout.parsed["services"]))
    old, new = before.rollout, revision.rollout
    was, is_now = old.parsed["services"], new.parsed["services"]
    both = [name for name in is_now if name in was]
    images = {name: (_version(old, name), _version(new, name)) for name in both if old.images[name] != new.images[name]}
    return Entry(
        revision,
        last,
        added=tuple(name for name in is_now if name not in was),
        removed=tuple(name for name in was if name not in is_now),
        changed=tuple(name for name in both if was[name] != is_now[name]),
        images=images,
        files=_differing(old.files, new.files),
        secrets=_differing(old.parsed.get("secrets") or {}, new.parsed.get("secrets") or {}),
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


def _version(rollout: Rollout, service: str) -> str:
    """The image's tag, or what says most of a reference without one."""
    reference = rollout.images[service]
    return rollout.tags.get(reference) or shortened(reference)
