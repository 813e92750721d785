"""Private keys at rest: AES-256-GCM under the installation's master key.

The public key goes in as associated data, so an encrypted key cannot be moved to another row. The master key is a file of
32 random bytes in hexadecimal, mode 0600. A copy of the database alone discloses no private key.
"""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from phimage.errors import SetupError
from phimage.files import create_file
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey, RandomBytes

_VERSION = b"\x01"
_NONCE = 12
_TAG = 16


class KeyEncryption:
    """Encrypts and decrypts private keys."""

    def __init__(self, master: bytes, random: RandomBytes) -> None:
        self._master = master
        self._cipher = AESGCM(master)
        self._random = random

    def derive(self, purpose: str) -> bytes:
        """A secret of 32 bytes for a purpose, the same in all processes of the installation (HKDF, RFC 5869)."""
        return HKDF(SHA256(), 32, None, f"phimage {purpose}".encode()).derive(self._master)

    def fingerprint(self) -> str:
        """A one-way fingerprint of the master key: equal for equal keys in all installations."""
        return self.derive("fingerprint of the master key").hex()

    def encrypt(self, public: PublicKey, private: PrivateKey) -> bytes:
        """A version byte, a nonce of twelve bytes, and the cipher text with its tag."""
        nonce = self._random(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, private.reveal().encode(), public.encode())

    def decrypt(self, public: PublicKey, encrypted: bytes) -> PrivateKey:
        """The private key. Raises SetupError if the master key is another one or the row was altered."""
        try:
            if encrypted[:1] != _VERSION or len(encrypted) < 1 + _NONCE + _TAG:
                raise InvalidTag
            text = self._cipher.decrypt(encrypted[1 : 1 + _NONCE], encrypted[1 + _NONCE :], public.encode())
        except InvalidTag:
            raise SetupError(
                "a private key cannot be decrypted: use the master key of this database; a server that runs needs a restart "
                "after `phimage key rotate-master`"
            ) from None
        return PrivateKey(text.decode())


def make_master_key(path: Path, random: RandomBytes) -> None:
    """Write a new master key file. Atomic and durable. Raises FileExistsError if there is one."""
    write_master_key(path, random(32))


def write_master_key(path: Path, key: bytes) -> None:
    """Write the file of an existing master key. Atomic and durable. Raises FileExistsError if there is one."""
    create_file(path, f"{key.hex()}\n".encode())


def read_master_key(path: Path) -> bytes:
    """The master key. Raises SetupError if the file is missing, readable by others, or not a key."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise SetupError(f"{path} is missing: restore the master key that this database was created with") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{path} is not a master key: expected 64 hexadecimal digits") from None
    if mode & 0o077:
        raise SetupError(f"{path} has mode {mode:04o}: others can read the master key; run: chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SetupError(f"{path} is not a master key: expected 64 hexadecimal digits")
    return key
