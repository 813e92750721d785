"""Compression formats: detection by their first bytes, and decompressors with bounded memory."""

from __future__ import annotations

import bz2
import lzma
import re
import sys
import zlib
from enum import StrEnum
from typing import Final, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC: Final = 10
"""How many first bytes identify a compression."""


class Compression(StrEnum):
    """The supported compressions. The text is the usual file name suffix, which is not used for detection."""

    NONE = "none"
    GZIP = "gz"
    XZ = "xz"
    ZSTD = "zst"
    BZIP2 = "bz2"


_MAGIC: Final = {
    Compression.GZIP: re.compile(rb"\x1f\x8b\x08"),
    Compression.XZ: re.compile(rb"\xfd7zXZ\x00"),
    Compression.ZSTD: re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # a frame, or a skippable one (RFC 8878, 3.1.2)
    Compression.BZIP2: re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
}

DECODE_ERRORS: Final = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)
"""Exceptions of the decompressors for invalid bytes. bz2 raises OSError."""


class Decompressor(Protocol):
    """Decompresses one member (stream, frame)."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether it can produce nothing without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the member."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decompress more input into at most `max_length` bytes. Raises one of DECODE_ERRORS."""
        ...


def detect(head: bytes) -> Compression:
    """The compression of bytes, from the first `MAGIC` of them."""
    return next((kind for kind, magic in _MAGIC.items() if magic.match(head)), Compression.NONE)


def decompressor(kind: Compression, memory: int) -> Decompressor:
    """A decompressor for one member, with at most `memory` bytes for its window."""
    if kind is Compression.GZIP:
        return _Gzip()
    if kind is Compression.XZ:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory + memory // 8)  # the dictionary and its overhead
    if kind is Compression.ZSTD:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: memory.bit_length() - 1})
    assert kind is Compression.BZIP2
    return bz2.BZ2Decompressor()


def declared_size(kind: Compression, head: bytes) -> int | None:
    """The uncompressed size that a member declares in its header; None when it declares none."""
    if kind is not Compression.ZSTD:
        return None
    try:
        return zstd.get_frame_info(head).decompressed_size
    except zstd.ZstdError:
        return None


class _Gzip:
    """A decompressor of one gzip member (RFC 1952)."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
