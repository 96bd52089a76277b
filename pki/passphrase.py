"""Where the passphrase of a CA's key comes from. It is never kept in a value that can be printed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import ClassVar, Final, Protocol

_TRIES = 3
_SETTING = "ca_passphrase_file"


class Passphrases(Protocol):
    """A source of passphrases."""

    @property
    def encrypts(self) -> bool:
        """Whether a cluster's first key is encrypted, too."""

    def opening(self, key: Path) -> Iterator[bytes]:
        """Passphrases to try on the key file, in order. The end is a ValueError that says what to do."""

    def sealing(self, key: Path) -> bytes:
        """The passphrase for a new key file.

        Raises:
            ValueError: there is none; it says what to do.
        """


@dataclass(frozen=True)
class FromFile:
    """The first line of a file that nobody but its owner, this user, can read."""

    path: Path

    encrypts: ClassVar[bool] = True

    def opening(self, key: Path) -> Iterator[bytes]:
        yield self._read()
        raise ValueError(f"the passphrase in {self.path} ({_SETTING}) does not open {key}; write the right one there")

    def sealing(self, key: Path) -> bytes:
        del key  # one passphrase for all
        return self._read()

    def _read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                self._check(found)
                line = file.readline()
        except OSError as error:
            raise ValueError(f"{_SETTING} = {str(self.path)!r} cannot be read: {error.strerror}") from None
        if not (passphrase := line.removesuffix(b"\n")):  # the line as openssl's `-passin file:` reads it
            raise ValueError(f"{_SETTING} = {str(self.path)!r} is empty; write the passphrase into its first line")
        return passphrase

    def _check(self, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid():
            raise ValueError(
                f"{_SETTING} = {str(self.path)!r} belongs to user {found.st_uid}, not to you ({os.geteuid()}), "
                f"who could read and change it; make a copy of your own with mode 0600"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise ValueError(
                f"{_SETTING} = {str(self.path)!r} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}); "
                f"chmod 600 {self.path}"
            )


@dataclass(frozen=True)
class FromTerminal:
    """The person at the terminal, asked where a key is encrypted."""

    ask: Callable[[str], str] = getpass

    encrypts: ClassVar[bool] = False

    def opening(self, key: Path) -> Iterator[bytes]:
        yield self._asked(f"Passphrase of {key}: ", key)
        for _ in range(_TRIES - 1):
            yield self._asked(f"That does not open it. Passphrase of {key}: ", key)
        raise ValueError(f"none of {_TRIES} passphrases opened {key}; run it again, or set {_SETTING}")

    def sealing(self, key: Path) -> bytes:
        for _ in range(_TRIES):
            passphrase = self._asked(f"New passphrase for {key}: ", key)
            if passphrase and self._asked("The same once more: ", key) == passphrase:
                return passphrase
        raise ValueError(f"no passphrase for {key} was typed twice in the same way; run it again, or set {_SETTING}")

    def _asked(self, prompt: str, key: Path) -> bytes:
        # getpass itself would ask whoever owns the terminal that a script was started from.
        if sys.stdin is None or not sys.stdin.isatty():
            raise ValueError(
                f"{key} is encrypted, and there is no terminal to ask for its passphrase; write it into a file "
                f"of mode 0600 and name that in the setting {_SETTING}"
            )
        try:
            return self.ask(prompt).encode(errors="surrogateescape")
        except EOFError:
            raise ValueError(f"no passphrase for {key} was typed; run it again, or set {_SETTING}") from None


ON_TERMINAL: Final = FromTerminal()


def passphrases(file: str | None) -> Passphrases:
    """The source that the setting `ca_passphrase_file` chooses: a file's path, or None for the terminal."""
    return FromFile(Path(file).expanduser()) if file else ON_TERMINAL
