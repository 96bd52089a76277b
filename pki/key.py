"""A CA's private key: opened when something has to be signed, for its file may be encrypted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from pki.folder import write_private
from pki.passphrase import ON_TERMINAL, Passphrases

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
MEND = "bring both files back from a backup, or remove both: a new CA then certifies every node anew"


class KeyRing:
    """Opens the files of CAs' keys, each once in its life; many threads, or pyinfra's many hosts, may share one.

    So a person is asked for a passphrase once a run, whatever came of it.
    """

    def __init__(self, passphrases: Passphrases = ON_TERMINAL) -> None:
        self._passphrases = passphrases
        self._lock = Lock()  # pyinfra has made it one of gevent's
        self._opened: dict[bytes, PrivateKey | str] = {}  # by the file's content: the key, or why there is none

    def __repr__(self) -> str:
        return "KeyRing()"  # pyinfra compares operations by what their arguments look like

    @property
    def encrypts(self) -> bool:
        """Whether a cluster's first key is encrypted, too."""
        return self._passphrases.encrypts

    def of(self, path: Path, public: PublicKeyTypes) -> Callable[[], PrivateKey]:
        """What opens the key in the file `path`, which is to match `public`.

        Raises:
            ValueError: now, where it can be told without a passphrase that the file will not do; else at the call.
        """
        content = _read(path)
        if (plain := _plain(content, path)) is not None:
            _matching(plain, public, path)
        return lambda: _matching(self._open(content, path), public, path)

    def lone(self, path: Path) -> PrivateKey:
        """The key in the file `path`, whatever certificate it is for; raises ValueError."""
        return self._open(_read(path), path)

    def keep(self, key: PrivateKey, path: Path, *, encrypted: bool) -> None:
        """Write a new key to the file `path`; raises ValueError where there is no passphrase for it."""
        content = _private_pem(key, self._passphrases.sealing(path) if encrypted else None)
        write_private(path, content)
        with self._lock:
            self._opened[content] = key

    def _open(self, content: bytes, path: Path) -> PrivateKey:
        with self._lock:
            if content not in self._opened:
                try:
                    self._opened[content] = _signing(_opened(content, path, self._passphrases), path)
                except ValueError as error:
                    self._opened[content] = str(error)
            found = self._opened[content]
        if isinstance(found, str):
            raise ValueError(found)
        return found


def is_encrypted(path: Path) -> bool:
    """Whether a private key's file wants a passphrase; one that is not there does not."""
    try:
        return _plain(path.read_bytes(), path) is None
    except (OSError, ValueError):
        return False


def private_pem(key: PrivateKey) -> bytes:
    """A key as the text that files hold."""
    return _private_pem(key, None)


def _private_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    try:
        encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    except ValueError as error:
        raise ValueError(f"the passphrase cannot encrypt a key: {first(error)}") from None


def hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
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


def _plain(content: bytes, path: Path) -> PrivateKeyTypes | None:
    """The key where no passphrase is wanted, else None; unlike `_opened` it costs next to nothing."""
    try:
        # Validating an RSA key takes a third of a second, which only a signature is worth.
        return serialization.load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        return None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} cannot be read ({first(error)}); {MEND}") from None


def _opened(content: bytes, path: Path, passphrases: Passphrases) -> PrivateKeyTypes:
    try:
        if _plain(content, path) is not None:
            return serialization.load_pem_private_key(content, None)
        for passphrase in passphrases.opening(path):
            try:
                return serialization.load_pem_private_key(content, passphrase)
            except ValueError:
                continue  # a wrong one
    except UnsupportedAlgorithm as error:
        raise ValueError(
            f"{path} is encrypted in a way that cannot be read here ({first(error)}); "
            f"openssl pkcs8 -topk8 -v2 aes-256-cbc -in {path} -out NEW encrypts it anew"
        ) from None
    raise ValueError(f"{path} could not be opened")


def _signing(key: PrivateKeyTypes, path: Path) -> PrivateKey:
    if not isinstance(key, PrivateKey):
        raise ValueError(f"{path} is neither an ECDSA nor an RSA key; {MEND}")
    return key


def _matching(key: PrivateKeyTypes, public: PublicKeyTypes, path: Path) -> PrivateKey:
    if key.public_key() != public:
        raise ValueError(f"{path} is not the key of its certificate; {MEND}")
    return _signing(key, path)
