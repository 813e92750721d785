"""The master key beside a backup: its fingerprint, and the key itself, encrypted with a passphrase."""

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
"""scrypt's N: 128 MiB of memory for each guess at a passphrase."""
MAX_COST: Final = 1 << 20
MIN_PASSPHRASE: Final = 12
"""Characters. An attacker who has the backup can guess offline."""

_BLOCK, _PARALLEL = 8, 1


class EncryptedKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A master key under a passphrase: AES-256-GCM, with a key that scrypt derives. The fingerprint is associated data."""

    cost: int
    salt: bytes
    nonce: bytes
    data: bytes


def fingerprint(key_encryption: KeyEncryption) -> str:
    """Names a master key without telling anything about it: the same key has the same fingerprint everywhere."""
    return key_encryption.derive("fingerprint of the master key").hex()


def encrypt_key(key: bytes, passphrase: str, random: RandomBytes, cost: int = COST) -> EncryptedKey:
    """Encrypt a master key. Raises SetupError for a passphrase that is too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise SetupError(f"the passphrase has {len(passphrase)} characters; take {MIN_PASSPHRASE} or more")
    salt, nonce = random(16), random(12)
    cipher = AESGCM(_derived(passphrase, salt, cost))
    return EncryptedKey(cost, salt, nonce, cipher.encrypt(nonce, key, _associated(key)))


def decrypt_key(encrypted: EncryptedKey, passphrase: str, expected: str) -> bytes:
    """The master key. Raises SetupError for a wrong passphrase, and for a key of another fingerprint than expected."""
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
    """Raises SetupError when a master key is not the one of that fingerprint."""
    if not hmac.compare_digest(_fingerprint_of(key), expected):
        raise SetupError("this master key is not the one of the backup: no key of its database would work")


def _fingerprint_of(key: bytes) -> str:
    return fingerprint(KeyEncryption(key, bytes))  # nothing is encrypted, so nothing random is needed


def _associated(key: bytes) -> bytes:
    return bytes.fromhex(_fingerprint_of(key))


def _derived(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, 32, cost, _BLOCK, _PARALLEL).derive(passphrase.encode())
