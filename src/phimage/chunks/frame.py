"""A chunk as it is stored: one standard zstd frame that tells its content size and carries zstd's own checksum.

Frames one after another are a zstd file, so the stored frames of all chunks of a disk, with a constant frame for zeros, are
the whole disk for any zstd program.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from hashlib import sha256

from phimage.chunks.layout import MAX_CHUNK_SIZE, ChunkDigest

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

LEVEL = 3
"""zstd's own default: half the time of level 5 for a few hundredths more bytes."""

_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_CHUNK_SIZE.bit_length()}
_SPARE_BYTES = 1024


class Damaged(ValueError):
    """These bytes are not the frame of that chunk."""


def pack(raw: bytes, level: int = LEVEL) -> bytes:
    """The frame of a chunk."""
    options: dict[int, int] = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}
    return zstd.compress(raw, options=options)


def unpack(frame: bytes, digest: ChunkDigest, length: int) -> bytes:
    """The raw bytes of a chunk, which are certainly those that its name promises. Raises Damaged.

    Nothing larger than `length` is ever made of a frame, whatever it says of itself.
    """
    if len(frame) > length + length // 128 + _SPARE_BYTES:
        raise Damaged(f"{len(frame)} bytes are too many for a chunk of {length}")
    try:
        told = zstd.get_frame_info(frame).decompressed_size
        if told != length:
            raise Damaged(f"its frame tells {told} bytes instead of {length}")
        decompressor = zstd.ZstdDecompressor(options=_WINDOW)
        raw = decompressor.decompress(frame, length + 1)
    except zstd.ZstdError as error:
        raise Damaged(f"its frame cannot be read: {error}") from error
    if len(raw) != length or not decompressor.eof:
        raise Damaged(f"its frame does not end after {length} bytes")
    if decompressor.unused_data:
        raise Damaged(f"{len(decompressor.unused_data)} bytes follow its frame")
    found = sha256(raw).digest()
    if found != digest:
        raise Damaged(f"its SHA-256 is {found.hex()}")
    return raw


@lru_cache(maxsize=16)
def zeros(length: int) -> bytes:
    """That many zero bytes; the same object each time."""
    return bytes(length)


@lru_cache(maxsize=16)
def zero_frame(length: int) -> bytes:
    """The frame that stands for a chunk of zeros, which is not stored."""
    return pack(zeros(length))


@lru_cache(maxsize=16)
def zero_digest(length: int) -> ChunkDigest:
    """The digest that no stored chunk has."""
    return ChunkDigest(sha256(zeros(length)).digest())
