"""Content-Digest (RFC 9530): the SHA-256 of a body, as it was sent."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256

_MEMBER = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):(?:;.*)?")


class WrongDigest(ValueError):
    """There is no digest that can be used, or the content has another one."""


def read_content_digest(field: str) -> bytes:
    """The SHA-256 that the field tells, beside digests of other algorithms, which are ignored. Raises WrongDigest.

    The field is a dictionary of structured fields (RFC 8941): names in small letters, base64 between colons.
    """
    if not field.strip():
        raise WrongDigest("the field Content-Digest is missing; send sha-256=:<base64 of the SHA-256 of the content>:")
    members = [member.strip() for member in field.split(",")]
    told = [found[1] for member in members if (found := _MEMBER.fullmatch(member))]
    if len(told) != 1:
        raise WrongDigest("Content-Digest must have one sha-256=:<base64 of the SHA-256 of the content>:")
    try:
        digest = base64.b64decode(told[0], validate=True)
    except binascii.Error:
        raise WrongDigest("the sha-256 of Content-Digest is not base64") from None
    if base64.b64encode(digest).decode("ascii") != told[0]:
        raise WrongDigest("the sha-256 of Content-Digest is not written as base64 is")
    return digest


def check_content(content: bytes, told: bytes) -> None:
    """Raises WrongDigest unless the content has the digest."""
    found = sha256(content).digest()
    if found != told:
        raise WrongDigest(f"the {len(content)} bytes that came have another SHA-256 ({found.hex()}); send them again")
