"""The master key of a backup: its fingerprint, and the key itself, encrypted with a passphrase."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct

from phimage.catalog.key_encryption import KeyEncryption
from phimage.errors import SetupError
from phimage.model.ids import RandomBytes

COST: Final = 1 << 17
"""scrypt's N: each guess of a passphrase needs 128 MiB of memory."""
MAX_COST: Final = 1 << 20
MIN_PASSPHRASE: Final = 12
"""Characters. An attacker with the backup can guess offline."""

_BLOCK, _PARALLEL = 8, 1


class EncryptedKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A master key, encrypted with AES-256-GCM under a key that scrypt derives from a passphrase.

    The fingerprint is the associated data.
    """

    cost: int
    salt: bytes
    nonce: bytes
    data: bytes


# docs/decisions.md#the-master-key-is-in-a-backup-only-under-a-passphrase
def encrypt_key(key: bytes, passphrase: str, random: RandomBytes, cost: int = COST) -> EncryptedKey:
    """Encrypt a master key. Raises SetupError if the passphrase is too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise SetupError(f"the passphrase has {len(passphrase)} characters: choose one of {MIN_PASSPHRASE} or more")
    salt, nonce = random(16), random(12)
    cipher = AESGCM(_derived(passphrase, salt, cost))
    return EncryptedKey(cost, salt, nonce, cipher.encrypt(nonce, key, _associated(key)))


def decrypt_key(encrypted: EncryptedKey, passphrase: str, expected: str) -> bytes:
    """The master key. Raises SetupError for a wrong passphrase, or if the key has another fingerprint than `expected`."""
    if not 2 <= encrypted.cost <= MAX_COST:
        raise SetupError(f"the encrypted master key asks for a cost of {encrypted.cost}, which no phimage writes")
    try:
        cipher = AESGCM(_derived(passphrase, encrypted.salt, encrypted.cost))
        key = cipher.decrypt(encrypted.nonce, encrypted.data, bytes.fromhex(expected))
    except (InvalidTag, ValueError):
        raise SetupError("the passphrase is not the one that the master key was encrypted with") from None
    check_key(key, expected)
    return key


def check_key(key: bytes, expected: str) -> None:
    """Raises SetupError if a master key has another fingerprint."""
    if not hmac.compare_digest(_fingerprint_of(key), expected):
        raise SetupError("this is not the master key of the backup: use the one of the installation that was backed up")


def _fingerprint_of(key: bytes) -> str:
    return KeyEncryption(key, bytes).fingerprint()  # encrypts nothing


def _associated(key: bytes) -> bytes:
    return bytes.fromhex(_fingerprint_of(key))


def _derived(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, 32, cost, _BLOCK, _PARALLEL).derive(passphrase.encode())
