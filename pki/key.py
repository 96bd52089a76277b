"""A CA's private key: opened when something has to be signed, for its file may be encrypted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from pki.passphrase import Passphrases

T = TypeVar("T")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
MEND = "bring both files back from a backup, or remove both: a new CA then certifies every node anew"


class Once(Generic[T]):
    """A value that is made when it is first asked for; all who ask get it, or the same ValueError.

    So a person is asked for a passphrase once, however many hosts wait for it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()  # pyinfra, which asks from many hosts at a time, has made it one of gevent's
        self._made: list[T] = []
        self._refusal = ""

    def __call__(self) -> T:
        with self._lock:
            if self._refusal:
                raise ValueError(self._refusal)
            if not self._made:
                try:
                    self._made.append(self._make())
                except ValueError as error:
                    self._refusal = str(error)
                    raise
            return self._made[0]


def kept(path: Path, public: PublicKeyTypes, passphrases: Passphrases) -> Once[PrivateKey]:
    """The key in the file `path`, which is to match `public`.

    Raises:
        ValueError: now, where it can be told without a passphrase that the file will not do;
            else when the key is asked for.
    """
    content = _read(path)
    try:
        # Validating an RSA key takes a third of a second, which only a signature is worth.
        found = serialization.load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        pass  # encrypted
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} cannot be read ({first(error)}); {MEND}") from None
    else:
        _matching(found, public, path)
    return Once(lambda: _matching(_opened(content, path, passphrases), public, path))


def lone(path: Path, passphrases: Passphrases) -> PrivateKey:
    """The key in the file `path`, which has no certificate yet.

    Raises:
        ValueError: it cannot be read or opened, or is of a kind that signs nothing here.
    """
    key = _opened(_read(path), path, passphrases)
    if not isinstance(key, PrivateKey):
        raise ValueError(f"{path} is neither an ECDSA nor an RSA key; {MEND}")
    return key


def is_encrypted(path: Path) -> bool:
    """Whether a private key's file wants a passphrase; a file that is none does not."""
    try:
        serialization.load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return True
    except (OSError, ValueError, UnsupportedAlgorithm):
        pass
    return False


def private_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """A key as the text that files hold, encrypted where there is a passphrase."""
    try:
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    except ValueError as error:
        raise ValueError(f"the passphrase cannot encrypt a key: {first(error)}") from None


def hash_for(key: PrivateKey) -> hashes.HashAlgorithm:
    """The hash that goes with a key, as TLS 1.3 pairs them; source: RFC 8446, section 4.2.3."""
    size = key.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    return hashes.SHA512() if size > 384 else hashes.SHA384() if size > 256 else hashes.SHA256()


def first(error: Exception) -> str:
    """A library's first sentence; the rest is for programmers."""
    return str(error).partition(".")[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {MEND}") from None


def _opened(content: bytes, path: Path, passphrases: Passphrases) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(content, None)
    except TypeError:
        pass  # encrypted
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} cannot be read ({first(error)}); {MEND}") from None
    for passphrase in passphrases.opening(path):
        try:
            return serialization.load_pem_private_key(content, passphrase)
        except UnsupportedAlgorithm as error:
            raise ValueError(
                f"{path} is encrypted in a way that cannot be read here ({first(error)}); "
                f"openssl pkcs8 -topk8 -v2 aes-256-cbc -in {path} -out NEW encrypts it anew"
            ) from None
        except ValueError:
            continue  # a wrong one
    raise AssertionError("a source of passphrases ends with a ValueError")


def _matching(key: PrivateKeyTypes, public: PublicKeyTypes, path: Path) -> PrivateKey:
    if not isinstance(key, PrivateKey) or key.public_key() != public:
        raise ValueError(f"{path} is not the key of its certificate; {MEND}")
    return key
