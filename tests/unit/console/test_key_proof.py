"""The proof of a private key: only for a nonce of the server, and for one minute."""

from __future__ import annotations

import pytest

from phimage.console.key_proof import NONCE_SECONDS, is_proof, make_nonce, prove, read_nonce
from phimage.errors import WrongSignature
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey

SECRET, NOW = b"s" * 32, 1_000_000.7
KEY, PUBLIC = PrivateKey("private"), PublicKey("public")
NONCE = make_nonce(SECRET, lambda size: b"\1" * size, NOW)


def test_a_nonce_of_the_server_is_read_within_its_minute() -> None:
    assert read_nonce(SECRET, NONCE, NOW) == "01" * 16
    assert read_nonce(SECRET, NONCE, NOW + NONCE_SECONDS - 1) == "01" * 16


@pytest.mark.parametrize("passed", [NONCE_SECONDS + 1, -2])
def test_an_old_nonce_and_one_of_the_future_are_refused(passed: float) -> None:
    with pytest.raises(WrongSignature):
        read_nonce(SECRET, NONCE, NOW + passed)


@pytest.mark.parametrize(
    "nonce",
    ["", "..", NONCE[:-1], f"{NONCE}0", f"9{NONCE}", NONCE.replace("01", "02", 1), "ä", make_nonce(b"o" * 32, bytes, NOW)],
)
def test_a_nonce_that_the_server_did_not_make_is_refused(nonce: str) -> None:
    with pytest.raises(WrongSignature):
        read_nonce(SECRET, nonce, NOW)


def test_a_proof_fits_one_key_and_one_nonce() -> None:
    proof = prove(KEY, PUBLIC, NONCE)
    assert is_proof(proof, KEY, PUBLIC, NONCE)
    assert not is_proof(proof, PrivateKey("other"), PUBLIC, NONCE)
    assert not is_proof(proof, KEY, PublicKey("other"), NONCE)
    assert not is_proof(proof, KEY, PUBLIC, f"{NONCE}0")
    assert not is_proof("ä\udc80", KEY, PUBLIC, NONCE)


def test_a_proof_is_what_webcrypto_computes() -> None:
    """RFC 4231 has no such case; this one was computed with OpenSSL."""
    proof = prove(PrivateKey("46f09bb9fab4f12dfc160dae12273d5332b5debe"), PublicKey("someone@example.com"), "nonce")
    assert proof == "204d039b46431abfa4512587a4fa7c8d35bf025fe7f79990d4458841fa22031f"
