"""A response of an untrusted web server: its header, and its body as it arrives, within limits of time and size."""

from __future__ import annotations

import http.client
import math
import os
import re
import socket
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from io import BufferedReader
from types import TracebackType
from typing import Final

from msgspec import Struct

from phimage.sources.errors import ResponseRefused, SourceInterrupted, error_text
from phimage.sources.url import Url

MAX_READ: Final = 256 * 1024
"""Max bytes of one read."""

MAX_LINE: Final = 4096
MAX_TRAILERS: Final = 64

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)

TICK: Final = 0.25
"""Seconds between two checks for a timeout or a cancellation."""


# docs/decisions.md#blocking-network-calls-are-cut-from-outside
class Watchdog:
    """Shuts a connection down when its reader has waited past a deadline, or when the work is cancelled.

    A socket's own timeout restarts with every byte, so a server that sends one byte now and then could hold a reader for ever.
    The watchdog runs in a thread of its own and limits the whole wait. Close it when done.
    """

    def __init__(self, connection: socket.socket, tick: float = TICK, cancel: threading.Event | None = None) -> None:
        """Watch a duplicate of `connection`, which may be unconnected, wrapped in TLS, or closed earlier.

        Shutting down also ends a running `connect`. Setting `cancel` shuts down within one tick.
        """
        self.cut = False
        self._bare = socket.socket(fileno=os.dup(connection.fileno()))
        self._deadline = math.inf
        self._tick = tick
        self._cancel = cancel or threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source-watchdog", daemon=True)
        self._thread.start()

    def arm(self, deadline: float) -> None:
        """Allow the reader to wait until `deadline`, a time of `time.monotonic`."""
        self._deadline = deadline

    def disarm(self) -> None:
        """Stop limiting: the reader is not waiting."""
        self._deadline = math.inf

    def close(self) -> None:
        """Stop the watchdog. Idempotent."""
        self._closing.set()
        self._thread.join()
        self._bare.close()

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closing.wait(self._tick):
            if time.monotonic() >= self._deadline or self._cancel.is_set():
                self.cut = True
                with suppress(OSError):  # already closed by the peer
                    self._bare.shutdown(socket.SHUT_RDWR)
                return


class ChunkReader:
    """Reads a body in chunked transfer coding (RFC 9112, 7.1) strictly.

    `http.client` and urllib3 take a connection that breaks within a chunk size for the end of the body: the `0` of a size
    `0c350`, say. This reader raises unless the body was complete.
    """

    def __init__(self, file: BufferedReader) -> None:
        """Read from `file`, which is positioned at the size of the first chunk."""
        self._file = file
        self._left = 0
        self._begun = False
        self._ended = False

    def read1(self, size: int) -> bytes:
        """Return up to `size` available bytes, b"" at the end. Raises HTTPException for a body that is cut off or malformed."""
        if self._left == 0 and not self._ended:
            self._next()
        if self._ended:
            return b""
        data = self._file.read1(min(size, self._left))
        if not data:
            raise http.client.IncompleteRead(b"")
        self._left -= len(data)
        return data

    def _next(self) -> None:
        """Advance to the bytes of the next chunk, or past the trailers after the last one."""
        if self._begun and self._line() != b"\r\n":
            raise http.client.HTTPException("a chunk is longer than its size")
        self._begun = True
        size = _SIZE.fullmatch(self._line())
        if size is None:
            raise http.client.HTTPException("a chunk has no size")
        self._left = int(size[1], 16)
        if self._left == 0:
            for _ in range(MAX_TRAILERS):
                if self._line() == b"\r\n":
                    self._ended = True
                    return
            raise http.client.HTTPException("there are too many fields after the body")

    def _line(self) -> bytes:
        line = self._file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise http.client.HTTPException("a line is too long") if len(line) == MAX_LINE else http.client.IncompleteRead(line)
        return line


class HttpTimeouts(Struct, frozen=True):
    """Timeouts in seconds: to connect, for the whole header, and for each `min_size` bytes of a body.

    The minimum rate of a body is `min_size` / `stall`, by default one MiB a minute.
    """

    connect: float = 10.0
    head: float = 30.0
    stall: float = 60.0
    min_size: int = 1024 * 1024


class Validators(Struct, frozen=True):
    """The validators of a response (RFC 9110, 8.8), which identify a version of its bytes. Empty when there are none."""

    etag: str = ""
    modified: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a validator."""
        return bool(self.etag or self.modified)

    @property
    def condition(self) -> str:
        """The value of If-Range (RFC 9110, 13.1.5)."""
        return self.etag or self.modified

    def differs(self, other: Validators) -> bool:
        """Whether the two certainly belong to different bytes."""
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.modified and other.modified and self.modified != other.modified)


class HttpResponse:
    """A response whose body has not been read yet. A context manager that closes the connection."""

    def __init__(self, response: http.client.HTTPResponse, url: Url, watchdog: Watchdog, timeouts: HttpTimeouts) -> None:
        """`url` is the URL that sent the response, after redirects."""
        self.url = url
        self.status = response.status
        self._response = response
        self._watchdog = watchdog
        self._timeouts = timeouts
        self._body = ChunkReader(response.fp) if response.chunked else response.fp
        self._rest: int | None = None
        self._begun = False
        self._time_left = timeouts.stall
        self._received = 0

    def header(self, name: str) -> str:
        """A header field, "" when absent. Repeated fields are joined with commas."""
        return ", ".join(self._response.headers.get_all(name, [])).strip()

    def length(self) -> int | None:
        """The Content-Length, None when absent. Raises ResponseRefused for an invalid one."""
        field = self.header("Content-Length")
        if not field or self.chunked:
            return None
        lengths = {part.strip() for part in field.split(",")}
        if len(lengths) > 1 or not _LENGTH.fullmatch(field.partition(",")[0]):
            raise self.refused(
                f"its Content-Length {field!r:.60} is not a number", "report it to the owner of the server", reason="header"
            )
        return int(lengths.pop())

    def range(self) -> tuple[int, int, int | None] | None:
        """First byte, last byte and total size of Content-Range; None when it is absent or invalid."""
        field = _RANGE.fullmatch(self.header("Content-Range"))
        if field is None or int(field[1]) > int(field[2]) or (field[3] != "*" and int(field[2]) >= int(field[3])):
            return None
        return int(field[1]), int(field[2]), None if field[3] == "*" else int(field[3])

    @property
    def chunked(self) -> bool:
        """Whether the body uses chunked transfer coding, so that its end is marked."""
        return bool(self._response.chunked)

    @property
    def validators(self) -> Validators:
        """The strong validators of the header (RFC 9110, 8.8.1)."""
        etag = self.header("ETag")
        modified = self.header("Last-Modified")
        return Validators(
            etag if re.fullmatch(r'"[\x21\x23-\x7e]{0,1000}"', etag) else "",
            modified if _earlier(modified, self.header("Date")) else "",
        )

    def check_begun(self) -> None:
        """Raises SourceInterrupted when no body follows: a header that was cut off looks like a shorter one."""
        if self.length() != 0:
            self._watchdog.arm(time.monotonic() + self._timeouts.stall)
            try:
                begun = self._response.fp.peek(1) != b""
            except (OSError, ValueError) as error:
                raise self.interrupted(error) from None
            finally:
                self._watchdog.disarm()
            if not begun:
                raise self.interrupted()

    def read(self) -> bytes:
        """Return available bytes of the body, b"" at its end. Raises SourceInterrupted when it stops or stalls."""
        if not self._begun:
            self._begun, self._rest = True, self.length()
        if self._rest == 0:
            return b""
        begun = time.monotonic()
        self._watchdog.arm(begun + self._time_left)
        try:
            data = self._body.read1(MAX_READ if self._rest is None else min(MAX_READ, self._rest))
        except (http.client.HTTPException, OSError, ValueError) as error:
            self._watchdog.disarm()
            raise self.interrupted(error) from None
        self._watchdog.disarm()
        if not data and (self._watchdog.cut or self._rest):
            raise self.interrupted()
        if self._rest is not None:
            self._rest -= len(data)
        self._time_left -= time.monotonic() - begun
        self._received += len(data)
        if self._received >= self._timeouts.min_size:
            self._time_left, self._received = self._timeouts.stall, 0
        return data

    def interrupted(self, error: Exception | None = None) -> SourceInterrupted:
        """The error for a body that stopped."""
        if self._watchdog.cut or isinstance(error, TimeoutError):
            message = f"fewer than {self._timeouts.min_size} bytes arrived in {self._timeouts.stall:g} s"
            return SourceInterrupted(self.url.shown, message, reason="stalled", status=self.status)
        if isinstance(error, http.client.IncompleteRead) or error is None:
            return SourceInterrupted(self.url.shown, "the connection was closed early", reason="cut", status=self.status)
        message = f"the connection broke: {error_text(error)}"
        return SourceInterrupted(self.url.shown, message, reason="cut", status=self.status)

    def refused(self, what: str, remedy: str, *, reason: str) -> ResponseRefused:
        """The error for a response that is not an image."""
        return ResponseRefused(self.url.shown, what, remedy, reason=reason, status=self.status)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._response.close()
        self._watchdog.close()

    def __enter__(self) -> HttpResponse:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _earlier(modified: str, date: str) -> bool:
    """Whether Last-Modified is at least a second before Date, so that it is a strong validator (RFC 9110, 8.8.2.2)."""
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(modified)).total_seconds() >= 1
    except (ValueError, TypeError):
        return False
