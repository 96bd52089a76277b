"""OCI platforms, as we build for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from image.errors import UserError

PLATFORMS = ("linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/amd64")
"""Those that we build."""
_VARIANTS = ("v6", "v7")
# What the kernel calls a machine (and `docker info` repeats) -> what OCI calls it.
_MACHINES = {
    "x86_64": "linux/amd64",
    "aarch64": "linux/arm64",
    "armv8l": "linux/arm/v7",  # a 32-bit userland on a 64-bit kernel
    "armv7l": "linux/arm/v7",
    "armv6l": "linux/arm/v6",
}
# What an engine takes where there is nothing of its own platform, in order; source: containerd's platforms.Only.
_ALSO = {
    "linux/arm64": ("linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"),
    "linux/arm/v7": ("linux/arm/v6", "linux/arm/v5"),
    "linux/arm/v6": ("linux/arm/v5",),
}
# One name for what has several; source: containerd's platforms.Normalize.
_SAME = {"arm64/v8": "arm64", "arm": "arm/v7"}


@dataclass(frozen=True, order=True)
class Platform:
    """An OCI platform, `os/arch[/variant]`; source: OCI image index specification."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `linux/arm/v7`; raises UserError on anything that we do not build."""
        os, _, rest = text.partition("/")
        architecture, slash, variant = rest.partition("/")
        known = variant in _VARIANTS if architecture == "arm" else architecture in ("arm64", "amd64") and not slash
        if os != "linux" or not known:
            raise UserError(
                f"platform {text!r} is not one we build",
                " or ".join((", ".join(PLATFORMS[:-1]), PLATFORMS[-1])),
            )
        return cls(os, architecture, variant)

    @classmethod
    def of_machine(cls, machine: str) -> Self:
        """The platform of an engine that reports `machine`, e.g. `aarch64`; raises UserError."""
        if machine not in _MACHINES:
            raise UserError(f"machine {machine!r} is not one we build for", f"one of {', '.join(_MACHINES)}")
        return cls.parse(_MACHINES[machine])

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def described(words: Mapping[str, Any]) -> str:
    """`os/architecture[/variant]` of whatever platform an index's entry or an image's configuration names.

    Empty where it names none: what tells of an image has `unknown` there, or nothing.
    """
    os, *rest = (str(words.get(key) or "") for key in ("os", "architecture", "variant"))
    if not os or not rest[0] or "unknown" in (os, rest[0]):
        return ""
    machine = "/".join(filter(None, rest))
    return f"{os}/{_SAME.get(machine, machine)}"


def taken(node: Platform, offered: Collection[str]) -> str:
    """Which of the platforms that an image is for a node's engine takes; empty where it takes none."""
    return next((name for name in (str(node), *_ALSO.get(str(node), ())) if name in offered), "")
