"""An OpenPGP key that signs for tests; written after RFC 9580, so that no agent has to run for it."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_RSA, _SHA512 = 1, 10
_CERTIFICATION, _BINARY = 0x13, 0x00


@dataclass(frozen=True)
class SigningKey:
    """An RSA key of version 4 with one name."""

    name: str = "tests"
    private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)
    created: int = field(default_factory=lambda: int(time.time()) - 3600)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(self._body(), usedforsecurity=False).hexdigest().upper()

    def public(self) -> str:
        """The public key, as a repository offers it."""
        name = self.name.encode()
        hashed = self._body() + b"\xb4" + struct.pack(">I", len(name)) + name
        packets = _packet(6, self._key()) + _packet(13, name) + self._signature(_CERTIFICATION, hashed)
        return _armour("PUBLIC KEY BLOCK", packets)

    def sign(self, data: bytes) -> str:
        """A detached signature."""
        return _armour("SIGNATURE", self._signature(_BINARY, data))

    def _key(self) -> bytes:
        numbers = self.private.public_key().public_numbers()
        return struct.pack(">BIB", 4, self.created, _RSA) + _integer(numbers.n) + _integer(numbers.e)

    def _body(self) -> bytes:
        return b"\x99" + struct.pack(">H", len(self._key())) + self._key()

    def _signature(self, kind: int, data: bytes) -> bytes:
        subpackets = (
            _subpacket(2, struct.pack(">I", int(time.time()) - 60))
            + _subpacket(33, b"\x04" + bytes.fromhex(self.fingerprint))
            + (_subpacket(27, b"\x03") if kind == _CERTIFICATION else b"")
        )
        head = struct.pack(">BBBBH", 4, kind, _RSA, _SHA512, len(subpackets)) + subpackets
        hashed = data + head + b"\x04\xff" + struct.pack(">I", len(head))
        digest = hashlib.sha512(hashed).digest()
        signed = self.private.sign(hashed, padding.PKCS1v15(), hashes.SHA512())
        return _packet(2, head + struct.pack(">H", 0) + digest[:2] + _integer(int.from_bytes(signed)))


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + struct.pack(">I", len(body)) + body


def _subpacket(kind: int, body: bytes) -> bytes:
    return bytes([len(body) + 1, kind]) + body


def _integer(number: int) -> bytes:
    bits = number.bit_length()
    return struct.pack(">H", bits) + number.to_bytes((bits + 7) // 8)


def _armour(what: str, packets: bytes) -> str:
    return f"-----BEGIN PGP {what}-----\n\n{base64.encodebytes(packets).decode()}-----END PGP {what}-----\n"
