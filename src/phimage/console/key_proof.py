"""The proof that a browser has a private key: an HMAC over a nonce of the server and the public key.

The private key stays in the page, which forgets it.
"""

from __future__ import annotations

import hmac

from msgspec import Struct

from phimage.http_signature import mac
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey


class KeyProof(Struct, frozen=True, rename="pascal"):
    """What the form of the sign-in page sends."""

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
