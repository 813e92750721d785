"""The header of a download and the parts of its body: conditions and ranges, for every representation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from phimage.delivery.representation import Piece, Representation, repr_digest
from phimage.http.conditions import ByteRange, evaluate, http_date, range_applies, read_ranges
from phimage.http.response import HttpError


class BodyPart(Struct, frozen=True):
    """Part of a body: literal bytes, then a range of the representation."""

    before: bytes
    range: ByteRange | None


class Reply(Struct, frozen=True):
    """A status, header fields, and the parts of the body; without parts there is no body."""

    status: int
    headers: Mapping[str, str]
    parts: tuple[BodyPart, ...] = ()

    def pieces(self, representation: Representation) -> Iterator[Piece]:
        """The body."""
        for part in self.parts:
            if part.before:
                yield part.before
            if part.range is not None:
                yield from representation.pieces(part.range.start, part.range.stop)


def choose_reply(
    representation: Representation, headers: Mapping[str, str], method: str, modified: int, filename: str, boundary: str
) -> Reply:
    """The reply to a GET or HEAD. `headers` are the request's by lower-case name, `modified` is Unix seconds, 0 if unknown.

    `boundary` separates the parts of a multipart body: an unpredictable text. Raises HttpError with 412 or 416.
    """
    etag, size = representation.etag, representation.size
    fields = {"ETag": etag, "Cache-Control": "private, no-transform"}
    if modified > 0:
        fields["Last-Modified"] = http_date(modified)
    outcome = evaluate(headers, etag, modified)
    if outcome == "failed":
        detail = "the image's bytes are not those of the precondition; read its ETag again"
        raise HttpError(412, "Precondition failed", detail, headers={"ETag": etag})
    if outcome == "not modified":
        return Reply(304, fields)
    fields |= {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{filename}"'}
    if representation.digest:
        fields["Repr-Digest"] = repr_digest(representation.digest)
    ranges = None
    if method == "GET" and "range" in headers and range_applies(headers, etag, modified):
        ranges = read_ranges(headers["range"], size)
    if ranges is None:
        entity = {"Content-Type": representation.media_type, "Content-Length": str(size)}
        return Reply(200, {**fields, **entity}, (BodyPart(b"", ByteRange(0, size)),))
    if not ranges:
        headers = {"Content-Range": f"bytes */{size}", "ETag": etag}
        raise HttpError(416, "Range not satisfiable", f"there are {size} bytes; ask for a range within them", headers=headers)
    if len(ranges) == 1:
        entity = {
            "Content-Type": representation.media_type,
            "Content-Length": str(ranges[0].length),
            "Content-Range": _content_range(ranges[0], size),
        }
        return Reply(206, {**fields, **entity}, (BodyPart(b"", ranges[0]),))
    parts = tuple(_multipart(ranges, size, representation.media_type, boundary))
    length = sum(len(part.before) + (part.range.length if part.range else 0) for part in parts)
    entity = {"Content-Type": f"multipart/byteranges; boundary={boundary}", "Content-Length": str(length)}
    return Reply(206, {**fields, **entity}, parts)


def _multipart(ranges: tuple[ByteRange, ...], size: int, media_type: str, boundary: str) -> Iterator[BodyPart]:
    for number, range in enumerate(ranges):
        line = "" if number == 0 else "\r\n"
        before = f"{line}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {_content_range(range, size)}\r\n\r\n"
        yield BodyPart(before.encode("ascii"), range)
    yield BodyPart(f"\r\n--{boundary}--\r\n".encode("ascii"), None)


def _content_range(range: ByteRange, size: int) -> str:
    return f"bytes {range.start}-{range.stop - 1}/{size}"
