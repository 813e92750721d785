"""A stored chunk: one standard zstd frame with its content size and zstd's own checksum.

Concatenated frames are a zstd file, so the stored frames of all chunks of a disk, with a constant frame for zeros, are the
whole disk for any zstd program.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from phimage.chunks.layout import MAX_CHUNK_SIZE, ChunkDigest
from phimage.zstd_frame import LEVEL, MAX_WINDOW_LOG

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_CHUNK_SIZE.bit_length()}
_SPARE_BYTES = 1024
_FED_BYTES = 256 << 10
_MAGIC = bytes.fromhex("28b52ffd")
_CHECKSUM_FLAG, _DICTIONARY_FLAG = 4, 3
_CANONICAL_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}


class Damaged(ValueError):
    """The bytes are not the frame of the chunk."""


# docs/decisions.md#a-chunk-is-one-zstd-frame
def pack(raw: bytes, level: int = LEVEL) -> bytes:
    """Compress a chunk into its frame."""
    options: dict[int, int] = {zstd.CompressionParameter.compression_level: level, zstd.CompressionParameter.checksum_flag: 1}
    return zstd.compress(raw, options=options)


def unpack(frame: bytes, digest: ChunkDigest | None, length: int) -> bytes:
    """Decompress a chunk and verify its digest; without `digest` the very frame was verified before. Raises Damaged.

    Never produces more than `length` bytes, regardless of the size that the frame declares.
    """
    if len(frame) > length + length // 128 + _SPARE_BYTES:
        raise Damaged(f"{len(frame)} bytes are too many for a chunk of {length}")
    try:
        declared = zstd.get_frame_info(frame).decompressed_size
        if declared != length:
            raise Damaged(f"its frame declares {declared} bytes instead of {length}")
        decompressor = zstd.ZstdDecompressor(options=_WINDOW)
        raw = decompressor.decompress(frame, length + 1)
    except zstd.ZstdError as error:
        raise Damaged(f"its frame cannot be read: {error}") from error
    if len(raw) != length or not decompressor.eof:
        raise Damaged(f"its frame does not end after {length} bytes")
    if decompressor.unused_data:
        raise Damaged(f"{len(decompressor.unused_data)} bytes follow its frame")
    if digest is not None and (actual := sha256(raw).digest()) != digest:
        raise Damaged(f"its SHA-256 is {actual.hex()}")
    return raw


def unpack_in_steps(frame: bytes, digest: ChunkDigest, length: int, step: int, window: int) -> Iterator[bytes]:
    """Decompress a long frame in pieces of `step` bytes, the last one shorter, with at most `window` bytes of history.

    Raises Damaged like `unpack`. The last piece comes after all have been verified, the others before.
    """
    if len(frame) > length + length // 128 + _SPARE_BYTES:
        raise Damaged(f"{len(frame)} bytes are too many for {length}")
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window.bit_length()})
    done, at, actual, held = 0, 0, sha256(), b""
    try:
        while not decompressor.eof and done <= length:
            parts, missing = list[bytes](), step
            while missing and not decompressor.eof and (at < len(frame) or not decompressor.needs_input):
                fed = frame[at : at + _FED_BYTES] if decompressor.needs_input else b""  # what it does not take yet it copies
                at += len(fed)
                parts.append(decompressor.decompress(fed, missing))
                missing -= len(parts[-1])
            if missing == step:
                break  # at the end, or cut short
            if held:
                yield held
            held = parts[0] if len(parts) == 1 else b"".join(parts)
            done += len(held)
            actual.update(held)
    except (zstd.ZstdError, EOFError) as error:
        raise Damaged(f"its frame cannot be read: {error}") from error
    if done != length or not decompressor.eof or decompressor.unused_data or at < len(frame):
        raise Damaged(f"its frame does not end after {length} bytes")
    if actual.digest() != digest:
        raise Damaged(f"its SHA-256 is {actual.hexdigest()}")
    yield held


def unpack_bounded(frame: bytes, max_length: int) -> tuple[ChunkDigest, bytes]:
    """Decompress one frame of a chunk that is not known yet. Returns its digest and its bytes. Raises Damaged."""
    if frame[: len(_MAGIC)] != _MAGIC:
        raise Damaged("it is not a zstd frame")
    try:
        decompressor = zstd.ZstdDecompressor(options=_CANONICAL_WINDOW)
        raw = decompressor.decompress(frame, max_length + 1)
    except (zstd.ZstdError, EOFError) as error:
        raise Damaged(f"its frame cannot be read: {error}") from error
    if not decompressor.eof or not 1 <= len(raw) <= max_length or decompressor.unused_data:
        raise Damaged(f"its frame does not end after 1 to {max_length} bytes")
    return ChunkDigest(sha256(raw).digest()), raw


def is_canonical(frame: bytes, length: int) -> bool:
    """Whether a readable frame of `length` bytes may be stored as it is: any program can read it (docs/store-format.md)."""
    info, descriptor = zstd.get_frame_info(frame), frame[len(_MAGIC)]
    return (
        info.decompressed_size == length
        and not info.dictionary_id
        and not descriptor & _DICTIONARY_FLAG
        and bool(descriptor & _CHECKSUM_FLAG)
        and len(frame) <= length + length // 128 + _SPARE_BYTES
    )


@lru_cache(maxsize=16)
def zeros(length: int) -> bytes:
    """`length` zero bytes, cached."""
    return bytes(length)


@lru_cache(maxsize=16)
def zero_frame(length: int) -> bytes:
    """The frame of a chunk of zeros. Such chunks are not stored."""
    return pack(zeros(length))


@lru_cache(maxsize=16)
def zero_digest(length: int) -> ChunkDigest:
    """The digest of a chunk of zeros."""
    return ChunkDigest(sha256(zeros(length)).digest())
