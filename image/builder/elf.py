"""What an ELF file says of the machine that it is for; source: the ELF specification, and Go's build info."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from image.errors import UserError
from image.platform import Platform

_ARM, _AMD64, _ARM64 = 40, 62, 183
_EXECUTABLE = (2, 3)  # ET_EXEC, and ET_DYN for those that may be loaded anywhere


@dataclass(frozen=True)
class Header:
    """The part of an ELF header that tells machines apart."""

    bits: int
    machine: int

    @classmethod
    def read(cls, file: Path) -> Header:
        """Read a program's header; raises UserError on what is none."""
        with file.open("rb") as opened:
            start = opened.read(20)
        if len(start) < 20 or start[:4] != b"\x7fELF" or start[4] not in (1, 2) or start[5] != 1:
            raise UserError(f"{file} is not a little-endian ELF program")
        kind, machine = struct.unpack_from("<HH", start, 16)
        if kind not in _EXECUTABLE:
            raise UserError(f"{file} is an ELF file but no program")
        return cls(bits=32 * start[4], machine=machine)


_EXPECTED = {"arm": Header(32, _ARM), "arm64": Header(64, _ARM64), "amd64": Header(64, _AMD64)}


def check(file: Path, platform: Platform) -> None:
    """Raise UserError unless the program is for the platform's machine.

    Arm's variants look the same here.
    """
    found, expected = Header.read(file), _EXPECTED[platform.architecture]
    if found != expected:
        raise UserError(f"{file} is not for {platform}: {found}, not {expected}")
