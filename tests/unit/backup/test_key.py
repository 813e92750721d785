"""The master key beside a backup: encrypted with a passphrase, and known by a fingerprint."""

from __future__ import annotations

import pytest

from phimage.backup.key import MAX_COST, EncryptedKey, check_key, decrypt_key, encrypt_key
from phimage.catalog.key_encryption import KeyEncryption
from phimage.errors import SetupError

KEY, OTHER = b"k" * 32, b"o" * 32
NAME = KeyEncryption(KEY, bytes).fingerprint()
PASSPHRASE = "correct horse battery"
CHEAP = 2


def encrypted() -> EncryptedKey:
    return encrypt_key(KEY, PASSPHRASE, bytes, CHEAP)


def test_a_key_comes_back_with_its_passphrase_alone() -> None:
    assert decrypt_key(encrypted(), PASSPHRASE, NAME) == KEY
    with pytest.raises(SetupError, match="passphrase is not the one"):
        decrypt_key(encrypted(), PASSPHRASE + " ", NAME)


def test_an_encrypted_key_shows_nothing_of_the_key() -> None:
    assert KEY[:8] not in encrypted().data
    assert KEY.hex() not in NAME
    assert KEY.hex()[:16] not in repr(encrypted())


def test_an_encrypted_key_does_not_open_beside_another_fingerprint() -> None:
    with pytest.raises(SetupError, match="passphrase is not the one"):
        decrypt_key(encrypted(), PASSPHRASE, KeyEncryption(OTHER, bytes).fingerprint())


def test_another_key_is_refused_by_its_fingerprint() -> None:
    check_key(KEY, NAME)
    with pytest.raises(SetupError, match="not the master key of the backup"):
        check_key(OTHER, NAME)


def test_a_passphrase_that_is_soon_guessed_is_refused() -> None:
    with pytest.raises(SetupError, match="has 5 characters: choose one of 12 or more"):
        encrypt_key(KEY, "short", bytes, CHEAP)


@pytest.mark.parametrize("cost", [0, 1, 3, 2 * MAX_COST])
def test_a_record_cannot_ask_for_any_memory_that_it_likes(cost: int) -> None:
    found = encrypted()
    with pytest.raises(SetupError):
        decrypt_key(EncryptedKey(cost, found.salt, found.nonce, found.data), PASSPHRASE, NAME)
