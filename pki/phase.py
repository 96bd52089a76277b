"""Which CA a cluster's folder says is in force, and how far a change to another one has come.

The files are the only record, and each step renames one of them into place:

| Phase    | ca.pem    | ca-key.pem | next-ca.pem, next-ca-key.pem | who signs | what nodes trust |
|----------|-----------|------------|------------------------------|-----------|------------------|
| SETTLED  | old       | old        | –                            | old       | old              |
| MADE     | old       | old        | new                          | old       | old              |
| BOTH     | old + new | old        | new                          | new       | old + new        |
| RETIRING | new       | old        | new                          | new       | new              |
| SETTLED  | new       | new        | –                            | new       | new              |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from pki.key import MEND, first

CA, CA_KEY = "ca.pem", "ca-key.pem"
NEXT_CA, NEXT_CA_KEY = "next-ca.pem", "next-ca-key.pem"
RETIRED_CA = "retired-ca.pem"


class Phase(StrEnum):
    """How far a change of the CA has come."""

    SETTLED = "one CA"
    MADE = "the next CA is made, and nobody trusts it yet"
    BOTH = "both CAs are trusted, the next one signs"
    RETIRING = "the former CA is trusted no more"


@dataclass(frozen=True)
class Standing:
    """The certificates of a folder's CAs: the one that signs, those that are trusted beside it."""

    phase: Phase
    signs: x509.Certificate
    file: Path
    """Where `signs` is."""
    key: Path
    """Where its key is; whether the file is there is not looked at."""
    former: tuple[x509.Certificate, ...] = ()

    def with_next(self, folder: Path) -> Standing:
        """What follows on MADE: the next CA signs, and both are trusted."""
        upcoming = _lone(folder / NEXT_CA)
        return Standing(Phase.BOTH, upcoming, folder / NEXT_CA, folder / NEXT_CA_KEY, former=(self.signs,))

    @classmethod
    def read(cls, folder: Path) -> Standing:
        """Read the folder.

        Raises:
            ValueError: a file is missing or no certificate, or they do not fit together.
        """
        file, next_file = folder / CA, folder / NEXT_CA
        if not next_file.exists():
            return cls(Phase.SETTLED, _lone(file), file, folder / CA_KEY)
        trusted, upcoming = certificates(file), _lone(next_file)
        if trusted == (upcoming,):
            # The last step moves the key first.
            key = folder / NEXT_CA_KEY
            return cls(Phase.RETIRING, upcoming, next_file, key if key.exists() else folder / CA_KEY)
        if trusted[1:] == (upcoming,):
            return cls(Phase.BOTH, upcoming, next_file, folder / NEXT_CA_KEY, former=trusted[:1])
        if len(trusted) == 1:
            return cls(Phase.MADE, trusted[0], file, folder / CA_KEY)
        raise ValueError(f"{file} should hold the CA and that of {NEXT_CA}, and holds something else; {MEND}")


def certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM file, one or more.

    Raises:
        ValueError: the file is missing or is something else.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {MEND}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({first(error)}); {MEND}") from None


def _lone(path: Path) -> x509.Certificate:
    found = certificates(path)
    if len(found) > 1:
        raise ValueError(f"{path} holds {len(found)} certificates; leave only the one whose key lies beside it")
    return found[0]
