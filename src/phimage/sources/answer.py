"""An answer of a web server: what its fields say, and its body as it comes."""

from __future__ import annotations

import http.client
import re
import time
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final

from msgspec import Struct

from phimage.sources.chunked import ChunkReader
from phimage.sources.errors import AnswerRefused, SourceBroken
from phimage.sources.url import Url
from phimage.sources.watch import Watch

PIECE: Final = 256 * 1024
"""Most bytes of one read."""

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class Times(Struct, frozen=True):
    """How long a server may take, in seconds: to connect, for all of a header, and for each `least` bytes of a body.

    So the minimum rate of a whole body is `least` / `stall`: a MiB a minute.
    """

    connect: float = 10.0
    head: float = 30.0
    stall: float = 60.0
    min_size: int = 1024 * 1024


class Version(Struct, frozen=True):
    """What tells whether a later answer is of the same bytes. Empty when the server gives nothing that can."""

    etag: str = ""
    modified: str = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to tell by."""
        return bool(self.etag or self.modified)

    @property
    def condition(self) -> str:
        """The value of If-Range (RFC 9110, 13.1.5)."""
        return self.etag or self.modified

    def differs(self, other: Version) -> bool:
        """Whether the two are surely not of the same bytes."""
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.modified and other.modified and self.modified != other.modified)


class Answer:
    """An answer with its body still to come. Close it; it is a context manager."""

    def __init__(self, response: http.client.HTTPResponse, url: Url, watch: Watch, times: Times) -> None:
        """`url` is where the answer came from, after redirects."""
        self.url = url
        self.status = response.status
        self._response = response
        self._watch = watch
        self._times = times
        self._body = ChunkReader(response.fp) if response.chunked else response.fp
        self._rest: int | None = None
        self._begun = False
        self._left = times.stall
        self._came = 0

    def field(self, name: str) -> str:
        """A field of the header, "" without it. Several of a name are told with commas between them."""
        return ", ".join(self._response.headers.get_all(name, [])).strip()

    def length(self) -> int | None:
        """How many bytes the body has, when the header tells. Raises AnswerRefused for a length that is none."""
        found = self.field("Content-Length")
        if not found or self.chunked:
            return None
        lengths = {part.strip() for part in found.split(",")}
        if len(lengths) > 1 or not _LENGTH.fullmatch(found.partition(",")[0]):
            raise self.refused(f"its Content-Length is {found!r:.60}", "tell the owner of the server", reason="header")
        return int(lengths.pop())

    def range(self) -> tuple[int, int, int | None] | None:
        """First byte, last byte and size of the whole, from Content-Range; None when it cannot be read."""
        found = _RANGE.fullmatch(self.field("Content-Range"))
        if found is None or int(found[1]) > int(found[2]) or (found[3] != "*" and int(found[2]) >= int(found[3])):
            return None
        return int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])

    @property
    def chunked(self) -> bool:
        """Whether the body tells itself where it ends."""
        return bool(self._response.chunked)

    @property
    def version(self) -> Version:
        """What the header gives to recognise the same bytes by. Only strong validators count (RFC 9110, 8.8.1)."""
        etag = self.field("ETag")
        modified = self.field("Last-Modified")
        return Version(
            etag if re.fullmatch(r'"[\x21\x23-\x7e]{0,1000}"', etag) else "",
            modified if _earlier(modified, self.field("Date")) else "",
        )

    def check_begun(self) -> None:
        """Raises SourceBroken when no body follows: a header that was cut off looks like a shorter one."""
        if self.length() != 0:
            self._watch.until(time.monotonic() + self._times.stall)
            try:
                begun = self._response.fp.peek(1) != b""
            except (OSError, ValueError) as error:
                raise self.broken(error) from None
            finally:
                self._watch.rest()
            if not begun:
                raise self.broken()

    def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises SourceBroken when it stops, or comes too slowly."""
        if not self._begun:
            self._begun, self._rest = True, self.length()
        if self._rest == 0:
            return b""
        begun = time.monotonic()
        self._watch.until(begun + self._left)
        try:
            data = self._body.read1(PIECE if self._rest is None else min(PIECE, self._rest))
        except (http.client.HTTPException, OSError, ValueError) as error:
            self._watch.rest()
            raise self.broken(error) from None
        self._watch.rest()
        if not data and (self._watch.cut or self._rest):
            raise self.broken()
        if self._rest is not None:
            self._rest -= len(data)
        self._left -= time.monotonic() - begun
        self._came += len(data)
        if self._came >= self._times.min_size:
            self._left, self._came = self._times.stall, 0
        return data

    def broken(self, error: Exception | None = None) -> SourceBroken:
        """The error for a body that stopped."""
        if self._watch.cut or isinstance(error, TimeoutError):
            told = f"fewer than {self._times.min_size} bytes came in {self._times.stall:g} s"
            return SourceBroken(self.url.shown, told, reason="stalled", status=self.status)
        if isinstance(error, http.client.IncompleteRead) or error is None:
            return SourceBroken(self.url.shown, "the connection was closed early", reason="cut", status=self.status)
        return SourceBroken(self.url.shown, f"the connection broke: {told_of(error)}", reason="cut", status=self.status)

    def refused(self, what: str, remedy: str, *, reason: str) -> AnswerRefused:
        """The error for an answer that is no image."""
        return AnswerRefused(self.url.shown, what, remedy, reason=reason, status=self.status)

    def close(self) -> None:
        """Close the connection. May be repeated."""
        self._response.close()
        self._watch.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def told_of(error: Exception) -> str:
    """An error of the operating system or of TLS in a few words, without what a terminal would obey."""
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:120]


def _earlier(modified: str, date: str) -> bool:
    """Whether a time was at least a second in the past when it was told, so that it can tell versions apart."""
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds() >= 1
    except (ValueError, TypeError):
        return False
