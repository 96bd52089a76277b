"""OCI platforms, as we build for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

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
