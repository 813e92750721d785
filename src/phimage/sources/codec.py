"""Compressions: how each is known by its first bytes, and what takes it apart with bounded memory."""

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
"""How many first bytes tell a compression."""


class Compression(StrEnum):
    """What phimage takes apart. The text is the usual ending of names, which decides nothing."""

    NONE = "none"
    GZIP = "gz"
    XZ = "xz"
    ZSTD = "zst"
    BZIP2 = "bz2"


_MAGIC: Final = {
    Compression.GZIP: re.compile(rb"\x1f\x8b\x08"),
    Compression.XZ: re.compile(rb"\xfd7zXZ\x00"),
    Compression.ZSTD: re.compile(
        rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"
    ),  # a frame, or one to be skipped (RFC 8878, 3.1.2)
    Compression.BZIP2: re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
}

DAMAGES: Final = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError)
"""What the decompressors raise for bytes that are none of theirs. bz2 raises OSError."""


class Decompressor(Protocol):
    """Takes one member (stream, frame) apart."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether it can give nothing without more bytes."""
        ...

    @property
    def unused_data(self) -> bytes:
        """After the end: bytes that were given and belong to what follows."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Give more bytes, get at most `max_length`. Raises one of DAMAGES."""
        ...


def detect(head: bytes) -> Compression:
    """How bytes are compressed, from the first `MAGIC` of them."""
    return next((kind for kind, magic in _MAGIC.items() if magic.match(head)), Compression.NONE)


def decompressor(kind: Compression, memory: int) -> Decompressor:
    """What takes a member apart, with at most so many bytes for what it must remember."""
    if kind is Compression.GZIP:
        return _Gzip()
    if kind is Compression.XZ:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory + memory // 8)  # its dictionary, and its own needs
    if kind is Compression.ZSTD:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: memory.bit_length() - 1})
    assert kind is Compression.BZIP2
    return bz2.BZ2Decompressor()


def told_size(kind: Compression, head: bytes) -> int | None:
    """How many bytes a member says that it holds, where its beginning tells."""
    if kind is not Compression.ZSTD:
        return None
    try:
        return zstd.get_frame_info(head).decompressed_size
    except zstd.ZstdError:
        return None


class _Gzip:
    """A member of gzip (RFC 1952), like the decompressors of the other kinds."""

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
