"""The proof that a browser has a private key: an HMAC over a nonce of the server and the public key.

The private key stays in the page, which forgets it. A nonce is made without a row: it has a time and an HMAC of the server, and
its use is recorded only with a right proof. So nobody without a key makes the database grow.
"""

from __future__ import annotations

import hmac
import re

from phimage.errors import WrongSignature
from phimage.http_signature import mac
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey, RandomBytes

NONCE_SECONDS = 60
"""Seconds in which a nonce can be used: the page gets one when its form is sent."""
_NONCE = re.compile(r"(?P<time>[0-9]{1,15})\.(?P<random>[0-9a-f]{32})\.(?P<mac>[0-9a-f]{64})")


def make_nonce(secret: bytes, random: RandomBytes, now: float) -> str:
    """A new nonce. `secret` is the same in all processes of the installation."""
    text = f"{int(now)}.{random(16).hex()}"
    return f"{text}.{_mac(secret, text)}"


def read_nonce(secret: bytes, nonce: str, now: float) -> str:
    """The random part of a nonce, which must be used once. Raises WrongSignature for an old one and for one of others."""
    match = _NONCE.fullmatch(nonce)
    text, _, signed = nonce.rpartition(".")
    if match is None or not hmac.compare_digest(_mac(secret, text), signed):
        raise WrongSignature(detail="the nonce is not one of this server: load the page again")
    if not 0 <= now - int(match["time"]) <= NONCE_SECONDS:
        raise WrongSignature(detail=f"the nonce is valid for {NONCE_SECONDS} seconds: send the form again")
    return match["random"]


def prove(private: PrivateKey, public: PublicKey, nonce: str) -> str:
    """The proof, in hexadecimal. Its text begins as no signature of a request does, so neither can serve as the other."""
    return mac(private.reveal().encode(), f"phimage-console-login\n{nonce}\n{public}").hex()


def is_proof(proof: str, private: PrivateKey, public: PublicKey, nonce: str) -> bool:
    """Whether a proof is the right one, compared in constant time."""
    return hmac.compare_digest(prove(private, public, nonce).encode("ascii"), proof.encode("utf-8", "surrogatepass"))


def _mac(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), "sha256").hexdigest()
