"""The fingerprint of an OpenPGP public key, such as the one that signs an apt repository.

Strict on purpose: a file in which another program could find a second key is refused, and what is checked
here (`PublicKey.packets`) is what is to be installed. Source: RFC 9580, sections 4.2, 5.5, 6.2 and 10.1.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_PRIMARY_KEY, _SECRET_KEYS = 6, (5, 7)
# Of a public key: signature, primary key, user ID, subkey, user attribute.
_PARTS = (2, _PRIMARY_KEY, 13, 14, 17)
_LONGEST = 0xFFFF
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[A-Za-z]+: [^\n]*\n)*\n"
    rb"(?P<data>[A-Za-z0-9+/\n]+={0,2})\n(?:=[A-Za-z0-9+/]{4}\n)?"
    rb"-----END PGP PUBLIC KEY BLOCK-----"
)


@dataclass(frozen=True)
class PublicKey:
    """One key with its subkeys, user IDs and signatures, none of which is verified here."""

    fingerprint: str
    """Of the primary key, version 4: 40 hexadecimal digits in upper case."""
    packets: bytes = field(repr=False)
    """The key in binary, as apt takes it in a file called `*.gpg`."""

    @classmethod
    def parse(cls, content: bytes) -> PublicKey:
        """Read a key's file, binary or ASCII-armoured.

        Raises:
            ValueError: it is no public key, more than one, or of another version than 4.
        """
        packets = _without_armour(content)
        try:
            found = list(_packets(packets))
        except IndexError:
            raise ValueError("the OpenPGP key is cut off") from None
        if any(tag in _SECRET_KEYS for tag, _ in found):
            raise ValueError("this is a secret OpenPGP key, and it should be a public one; gpg --export exports it")
        if strange := sorted({tag for tag, _ in found} - set(_PARTS)):
            raise ValueError(f"this is no OpenPGP key: it holds packets of type {strange[0]}")
        keys = [body for tag, body in found if tag == _PRIMARY_KEY]
        if len(keys) != 1 or found[0][0] != _PRIMARY_KEY:
            raise ValueError(f"one OpenPGP key is expected, with its primary key first, and there are {len(keys)}")
        return cls(_fingerprint(keys[0]), packets)


def _fingerprint(key: bytes) -> str:
    """Source: RFC 9580, section 5.5.4.2."""
    if key[:1] != b"\x04":
        raise ValueError(f"the OpenPGP key is of version {key[0] if key else '?'}, and only version 4 is known here")
    if len(key) > _LONGEST:
        raise ValueError(f"the OpenPGP key is {len(key)} bytes long, and no key is")
    # SHA-1 is what names a key of version 4; to forge one needs a second preimage, not a collision.
    return hashlib.sha1(b"\x99" + len(key).to_bytes(2) + key, usedforsecurity=False).hexdigest().upper()


def _without_armour(content: bytes) -> bytes:
    if content[:1] >= b"\x80":  # every packet's first bit is set, and no letter's
        return content
    text = re.sub(rb"[ \t\r]*\n", b"\n", content.strip())
    armour = _ARMOUR.fullmatch(text)
    if not armour:
        raise ValueError(
            "this is no OpenPGP public key, binary or as one block of text from '-----BEGIN PGP PUBLIC KEY "
            "BLOCK-----' to its end, with nothing around it"
        )
    try:
        return base64.b64decode(armour["data"].replace(b"\n", b""), validate=True)
    except ValueError:
        raise ValueError("the OpenPGP key is cut off") from None


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each packet's type and body.

    Raises:
        IndexError: the data ends within a packet.
        ValueError: it is not made of packets with a length of their own.
    """
    position = 0
    while position < len(data):
        tag, start, length = _header(data, position)
        position = start + length
        if position > len(data):
            raise IndexError
        yield tag, data[start:position]


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """A packet's type, where its body starts, and how long that is."""
    first = data[at]
    if not first & 0x80:
        raise ValueError("this is no OpenPGP key")
    if first & 0x40:
        return (first & 0x3F, *_length(data, at + 1))
    if first & 0x03 == 3:
        raise ValueError("the OpenPGP key has a packet without a length")
    start = at + 1 + (1 << (first & 0x03))
    return first >> 2 & 0x0F, start, _number(data, at + 1, start)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Where a packet of the present format has its body, and its length; source: RFC 9580, section 4.2.1."""
    first = data[at]
    if first < 192:
        return at + 1, first
    if first < 224:
        return at + 2, (first - 192 << 8) + data[at + 1] + 192
    if first < 255:
        raise ValueError("the OpenPGP key has a packet in pieces, which only data may be")
    return at + 5, _number(data, at + 1, at + 5)


def _number(data: bytes, start: int, end: int) -> int:
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[start:end])
