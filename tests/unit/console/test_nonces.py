"""The proof of a private key, and the nonces that it and forms are made for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from phimage.console.nonces import KeyProof, Nonces, prove
from phimage.errors import WrongSignature
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey

SECRET, NOW, SECONDS = b"s" * 32, 1_000_000.7, 60
KEY, PUBLIC = PrivateKey("private"), PublicKey("public")


def nonces(now: float = NOW, secret: bytes = SECRET) -> Nonces:
    return Nonces(secret, SECONDS, lambda size: b"\1" * size, lambda: now)


NONCE = nonces().make()


def test_a_nonce_is_read_by_every_server_within_its_time() -> None:
    assert nonces().read(NONCE) == "01" * 16
    assert nonces(NOW + SECONDS - 1).read(NONCE) == "01" * 16


@pytest.mark.parametrize("passed", [SECONDS + 1, -2])
def test_an_old_nonce_and_one_of_the_future_are_refused(passed: float) -> None:
    with pytest.raises(WrongSignature):
        nonces(NOW + passed).read(NONCE)


@pytest.mark.parametrize(
    "nonce",
    ["", "..", NONCE[:-1], f"{NONCE}0", f"9{NONCE}", NONCE.replace("01", "02", 1), "ä", nonces(secret=b"o" * 32).make()],
)
def test_a_nonce_that_the_server_did_not_make_for_this_purpose_is_refused(nonce: str) -> None:
    with pytest.raises(WrongSignature):
        nonces().read(nonce)


def test_a_proof_fits_one_key_and_one_nonce() -> None:
    proof = KeyProof(PUBLIC, NONCE, prove(KEY, PUBLIC, NONCE))
    assert proof.is_by(KEY)
    assert not proof.is_by(PrivateKey("other"))
    assert not replace(proof, public_key=PublicKey("other")).is_by(KEY)
    assert not replace(proof, nonce=f"{NONCE}0").is_by(KEY)
    assert not replace(proof, proof="ä\udc80").is_by(KEY)


def test_a_proof_is_the_hmac_that_openssl_computes() -> None:
    proof = prove(PrivateKey("46f09bb9fab4f12dfc160dae12273d5332b5debe"), PublicKey("someone@example.com"), "nonce")
    assert proof == "204d039b46431abfa4512587a4fa7c8d35bf025fe7f79990d4458841fa22031f"
