"""The signature of a request (wire-protocol 2): SHA-1 over all parameters, sorted by name, and the private key."""

from __future__ import annotations

import hashlib
import hmac

from phimage.gateway.params import Params, Value
from phimage.model.account import PrivateKey

SIGNATURE = "Signature"


def canonical(params: Params) -> str:
    """The signed text without the private key: name and value of every parameter but the signature, sorted by name."""
    return "".join(f"{name}{canonical_value(params[name])}" for name in sorted(params) if name != SIGNATURE)


def canonical_value(value: Value) -> str:
    """A value in the signed text: text verbatim, lists and objects concatenated, null empty."""
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, list):
        return "".join(canonical_value(item) for item in value)
    if isinstance(value, dict):
        return "".join(f"{name}{canonical_value(value[name])}" for name in sorted(value))
    return ""


def sign(params: Params, key: PrivateKey) -> str:
    """The signature of parameters: 40 lower-case hexadecimal digits."""
    text = canonical(params) + key.reveal()
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # the protocol demands SHA-1


def verify(params: Params, signature: str, key: PrivateKey) -> bool:
    """Whether a signature is the right one, compared in constant time."""
    return hmac.compare_digest(sign(params, key).encode("ascii"), signature.encode())
