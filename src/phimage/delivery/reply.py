"""Which bytes of a representation are sent, and the header before them: conditions and ranges, for all forms at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from msgspec import Struct

from phimage.delivery.conditions import http_date, judge, range_counts
from phimage.delivery.ranges import Range, read_ranges
from phimage.delivery.representation import Piece, Representation, repr_digest
from phimage.refusal import Answer, refusal


class Part(Struct, frozen=True):
    """Some bytes of a body: what goes before them, and a range of the representation."""

    before: bytes
    range: Range | None


class Reply(Struct, frozen=True):
    """A status, a header, and what the body is made of; without parts there is none."""

    status: int
    headers: Mapping[str, str]
    parts: tuple[Part, ...] = ()

    def pieces(self, representation: Representation) -> Iterator[Piece]:
        """The body."""
        for part in self.parts:
            if part.before:
                yield partial(bytes, part.before)
            if part.range is not None:
                yield from representation.pieces(part.range.start, part.range.stop)


def choose(
    representation: Representation, asked: Mapping[str, str], method: str, modified: int, filename: str, boundary: str
) -> Reply | Answer:
    """What to answer to a GET or HEAD. `asked` has its header fields by lower-case name, `modified` is Unix seconds, or 0.

    `boundary` divides the parts when there is more than one: something that nobody guesses.
    """
    etag, size = representation.etag, representation.size
    known = {"ETag": etag, "Cache-Control": "private, no-transform"}
    if modified > 0:
        known["Last-Modified"] = http_date(modified)
    outcome = judge(asked, etag, modified)
    if outcome == "failed":
        return refusal(
            412, "Precondition failed", "the image's bytes are not those that the request is about", headers={"ETag": etag}
        )
    if outcome == "not modified":
        return Reply(304, known)
    known |= {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{filename}"'}
    if representation.digest:
        known["Repr-Digest"] = repr_digest(representation.digest)
    ranges = None
    if method == "GET" and "range" in asked and range_counts(asked, etag, modified):
        ranges = read_ranges(asked["range"], size)
    if ranges is None:
        told = {"Content-Type": representation.media_type, "Content-Length": str(size)}
        return Reply(200, {**known, **told}, (Part(b"", Range(0, size)),))
    if not ranges:
        beyond = {"Content-Range": f"bytes */{size}", "ETag": etag}
        return refusal(416, "Range not satisfiable", f"there are {size} bytes", headers=beyond)
    if len(ranges) == 1:
        told = {
            "Content-Type": representation.media_type,
            "Content-Length": str(ranges[0].length),
            "Content-Range": _content_range(ranges[0], size),
        }
        return Reply(206, {**known, **told}, (Part(b"", ranges[0]),))
    parts = tuple(_parts(ranges, size, representation.media_type, boundary))
    length = sum(len(part.before) + (part.range.length if part.range else 0) for part in parts)
    told = {"Content-Type": f"multipart/byteranges; boundary={boundary}", "Content-Length": str(length)}
    return Reply(206, {**known, **told}, parts)


def _parts(ranges: tuple[Range, ...], size: int, media_type: str, boundary: str) -> Iterator[Part]:
    for number, range in enumerate(ranges):
        line = "" if number == 0 else "\r\n"
        before = f"{line}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {_content_range(range, size)}\r\n\r\n"
        yield Part(before.encode("ascii"), range)
    yield Part(f"\r\n--{boundary}--\r\n".encode("ascii"), None)


def _content_range(range: Range, size: int) -> str:
    return f"bytes {range.start}-{range.stop - 1}/{size}"
