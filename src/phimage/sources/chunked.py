"""Bodies in chunks (RFC 9112, 7.1), read to the letter.

Python's own reader takes a connection that breaks at the wrong moment for the end of the body: the 0 of a size `0c350`, say.
What is read here was whole, or there is an error.
"""

from __future__ import annotations

import http.client
import re
from io import BufferedReader
from typing import Final

LONGEST_LINE: Final = 4096
MAX_TRAILERS: Final = 64

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class ChunkReader:
    """Reads a body in chunks."""

    def __init__(self, file: BufferedReader) -> None:
        """`file` is at the size of the first chunk."""
        self._file = file
        self._left = 0
        self._begun = False
        self._ended = False

    def read1(self, size: int) -> bytes:
        """Some bytes, as they come; none at the end. Raises HTTPException when the body stops or is none in chunks."""
        if self._left == 0 and not self._ended:
            self._next()
        if self._ended:
            return b""
        found = self._file.read1(min(size, self._left))
        if not found:
            raise http.client.IncompleteRead(b"")
        self._left -= len(found)
        return found

    def _next(self) -> None:
        """Go to the bytes of the next chunk, or past the end of the last one."""
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
        line = self._file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise (
                http.client.HTTPException("a line is too long")
                if len(line) == LONGEST_LINE
                else http.client.IncompleteRead(line)
            )
        return line
