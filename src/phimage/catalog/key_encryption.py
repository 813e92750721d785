"""Private keys at rest: AES-256-GCM under the installation's master key.

The public key goes in as associated data, so a sealed key moved to another row does not open. The master key is a file
of 32 random bytes in hexadecimal, mode 0600; whoever holds the database alone holds no key.
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
    """Seals and opens private keys."""

    def __init__(self, master: bytes, random: RandomBytes) -> None:
        self._master = master
        self._cipher = AESGCM(master)
        self._random = random

    def derive(self, purpose: str) -> bytes:
        """A secret of 32 bytes for one purpose, the same in every process of the installation (HKDF, RFC 5869)."""
        return HKDF(SHA256(), 32, None, f"phimage {purpose}".encode()).derive(self._master)

    def close(self, public: PublicKey, private: PrivateKey) -> bytes:
        """Seal: one version byte, twelve bytes of nonce, then the cipher text with its tag."""
        nonce = self._random(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, private.reveal().encode(), public.encode())

    def open(self, public: PublicKey, sealed: bytes) -> PrivateKey:
        """Open what `close` made. Raises SetupError when the master key is another one or the row was altered."""
        try:
            if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE + _TAG:
                raise InvalidTag
            text = self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], public.encode())
        except InvalidTag:
            raise SetupError("a sealed key does not open: the master key is not the one this database was made with") from None
        return PrivateKey(text.decode())


def make_master_key(path: Path, random: RandomBytes) -> None:
    """Write a new master key file. Atomic and durable. Raises FileExistsError if there is one."""
    write_master_key(path, random(32))


def write_master_key(path: Path, key: bytes) -> None:
    """Write the file of an existing master key. Atomic and durable. Raises FileExistsError if there is one."""
    create_file(path, f"{key.hex()}\n".encode())


def read_master_key(path: Path) -> bytes:
    """The master key. Raises SetupError when the file is missing, open to others, or not a key."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise SetupError(f"{path} is missing: put back the master key that this database was made with") from None
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
