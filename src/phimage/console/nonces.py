"""Nonces that the server makes without keeping them: random, dated, and with an HMAC; and the proof of a key for such a nonce.

Only the use of a nonce is recorded (`catalog.accounts.use_nonce`), after what it belongs to was verified. So nobody without a
key makes the database grow, and each is used once on all servers.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

from msgspec import Struct

from phimage.catalog.accounts import NONCE_SECONDS
from phimage.errors import WrongSignature
from phimage.http_signature import mac
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey, RandomBytes

_FORM = re.compile(r"(?P<time>[0-9]{1,15})\.(?P<random>[0-9a-f]{32})\.(?P<mac>[0-9a-f]{64})")


class Nonces:
    """The nonces for one purpose. `secret` is the same in all processes of the installation, and differs between purposes."""

    def __init__(self, secret: bytes, seconds: int, random: RandomBytes, now: Callable[[], float]) -> None:
        """A nonce is valid for so many seconds, at most as long as a used one is remembered."""
        assert seconds <= NONCE_SECONDS
        self._secret = secret
        self._seconds = seconds
        self._random = random
        self._now = now

    def make(self) -> str:
        """A new nonce."""
        text = f"{int(self._now())}.{self._random(16).hex()}"
        return f"{text}.{self._mac(text)}"

    def read(self, nonce: str) -> str:
        """The random part, whose use is to be recorded. Raises WrongSignature for an old nonce and for one of others."""
        match = _FORM.fullmatch(nonce)
        text, _, mac = nonce.rpartition(".")
        if match is None or not hmac.compare_digest(self._mac(text), mac):
            raise WrongSignature(detail="the nonce is not one of this server: load the page again")
        if not 0 <= self._now() - int(match["time"]) <= self._seconds:
            raise WrongSignature(detail=f"the page is older than {self._seconds} seconds: load it again")
        return match["random"]

    def _mac(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), "sha256").hexdigest()


class KeyProof(Struct, frozen=True, rename="pascal"):
    """What the form of the sign-in page sends: an HMAC over a nonce and the public key. The private key stays in the page."""

    public_key: PublicKey
    nonce: str
    proof: str

    def is_by(self, private: PrivateKey) -> bool:
        """Whether it was made with a private key, compared in constant time."""
        return hmac.compare_digest(
            prove(private, self.public_key, self.nonce).encode("ascii"), self.proof.encode("utf-8", "surrogatepass")
        )


def prove(private: PrivateKey, public: PublicKey, nonce: str) -> str:
    """The proof, in hexadecimal. Its text begins as no signature of a request does, so neither can serve as the other."""
    return mac(private.reveal().encode(), f"phimage-console-login\n{nonce}\n{public}").hex()
