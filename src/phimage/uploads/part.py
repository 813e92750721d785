"""A part as the header of its request describes it: number, digest, coding and length (RFC 9530 for Content-Digest)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import sha256

from msgspec import Struct

from phimage.chunks.uploads import MAX_FRAME, MAX_PARTS, PART
from phimage.http.response import HttpError

_SHA256 = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):(?:;.*)?")


class BadContentDigest(ValueError):
    """Content-Digest is missing or unusable, or the content has another digest."""


class PartHeader(Struct, frozen=True):
    """A part that is to be received. `digest` is the SHA-256 of the body, which is a zstd frame or raw bytes."""

    number: int
    digest: bytes
    zstd: bool

    @property
    def max_size(self) -> int:
        """The maximum size of the body in bytes."""
        return MAX_FRAME if self.zstd else PART


def part_too_large() -> HttpError:
    """The error for a body that is longer than a part may be."""
    return HttpError(413, "Part too large", f"a part has at most {PART} bytes, a frame {MAX_FRAME}; send smaller parts")


def read_part_header(number: int, fields: Mapping[str, str]) -> PartHeader:
    """The part that header fields, by lower-case name, describe. Raises HttpError."""
    coding = fields.get("content-encoding", "").lower()
    if coding not in ("", "identity", "zstd"):
        detail = "send Content-Encoding: zstd, or leave it out"
        raise HttpError(415, "Coding not supported", detail, headers={"Accept-Encoding": "zstd"})
    try:
        header = PartHeader(number, read_content_digest(fields.get("content-digest", "")), coding == "zstd")
    except BadContentDigest as error:
        raise HttpError(400, "Wrong digest", str(error)) from None
    if number >= MAX_PARTS:
        raise HttpError(413, "Upload too large", f"an upload has at most {MAX_PARTS} parts; give a URL instead")
    length = fields.get("content-length", "0")
    if not length.isdecimal() or int(length) > header.max_size:
        raise part_too_large()
    return header


def read_content_digest(field: str) -> bytes:
    """The SHA-256 in a Content-Digest field; digests of other algorithms are ignored. Raises BadContentDigest.

    The field is a dictionary of structured fields (RFC 8941): lower-case names, base64 between colons.
    """
    if not field.strip():
        raise BadContentDigest("the field Content-Digest is missing; send sha-256=:<base64 of the SHA-256 of the content>:")
    members = [member.strip() for member in field.split(",")]
    digests = [match[1] for member in members if (match := _SHA256.fullmatch(member))]
    if len(digests) != 1:
        raise BadContentDigest("Content-Digest must have one sha-256=:<base64 of the SHA-256 of the content>:")
    try:
        digest = base64.b64decode(digests[0], validate=True)
    except binascii.Error:
        raise BadContentDigest("the sha-256 of Content-Digest is not base64; encode the 32 bytes of the SHA-256") from None
    if base64.b64encode(digest).decode("ascii") != digests[0]:
        raise BadContentDigest("the sha-256 of Content-Digest is not canonical base64; encode the 32 bytes of the SHA-256")
    return digest


def check_content(content: bytes, digest: bytes) -> None:
    """Raises BadContentDigest unless the SHA-256 of the content is `digest`."""
    actual = sha256(content).digest()
    if actual != digest:
        raise BadContentDigest(f"the {len(content)} bytes received have another SHA-256 ({actual.hex()}); send them again")
