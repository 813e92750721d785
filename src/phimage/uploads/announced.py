"""What the header of a request says about the part in its body."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.chunks.uploads import MAX_FRAME, MAX_PARTS, PART
from phimage.refusal import refusal
from phimage.uploads.answer import Refused
from phimage.uploads.digest import WrongDigest, read_content_digest


class Announced(Struct, frozen=True):
    """A part that is to come. `digest` is the SHA-256 of the body, which is a frame or the raw bytes."""

    number: int
    digest: bytes
    zstd: bool

    @property
    def max_size(self) -> int:
        """How many bytes the body may have."""
        return MAX_FRAME if self.zstd else PART


def read_announced(number: int, headers: Iterable[tuple[bytes, bytes]]) -> Announced:
    """The part that a header of ASGI announces. Raises Refused, before a byte of the body was read."""
    fields: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1").strip()
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    coding = fields.get("content-encoding", "").lower()
    if coding not in ("", "identity", "zstd"):
        told = "Content-Encoding may be zstd, or absent"
        raise Refused(refusal(415, "Coding not supported", told, {"Accept-Encoding": "zstd"}))
    try:
        announced = Announced(number, read_content_digest(fields.get("content-digest", "")), coding == "zstd")
    except WrongDigest as error:
        raise Refused(refusal(400, "Wrong digest", str(error))) from None
    if number >= MAX_PARTS:
        raise Refused(refusal(413, "Upload too large", f"an upload has at most {MAX_PARTS} parts; give a URL instead"))
    length = fields.get("content-length", "0")
    if not length.isdecimal() or int(length) > announced.max_size:
        raise Refused(refusal(413, "Part too large", f"a part has at most {PART} bytes, a frame {MAX_FRAME}"))
    return announced
