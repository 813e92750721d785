"""What an image consists of: the chunks of its manifest, and where the frame of each is in the zstd file."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from phimage.agent.errors import ImageMismatch

_FORMAT = "phimage-disk-1"
_FRAMES_FORMAT = "phimage-frames-1"
_DIGEST_BYTES = 32


class ImageChunks:
    """The chunks with data of a disk, by their place: the number of each among these. What lies between is zeros."""

    def __init__(self, manifest: str, size: int, chunk_size: int, indices: array[int], digests: bytes) -> None:
        """`manifest` is its digest. `indices` are those of the chunks on the disk, in order, `digests` 32 bytes of each."""
        self.manifest = manifest
        self.size = size
        self.chunk_size = chunk_size
        self.indices = indices
        self._digests = digests

    def __len__(self) -> int:
        return len(self.indices)

    def offset(self, place: int) -> int:
        """The first byte of a chunk on the disk."""
        return self.indices[place] * self.chunk_size

    def length(self, place: int) -> int:
        """The length of a chunk in bytes; only the disk's last one may be shorter than the others."""
        return min(self.chunk_size, self.size - self.offset(place))

    def digest(self, place: int) -> bytes:
        """The SHA-256 of a chunk."""
        return self._digests[place * _DIGEST_BYTES : (place + 1) * _DIGEST_BYTES]

    def places(self, offset: int, length: int) -> range:
        """The places of the chunks with data in a part of the disk."""
        first, last = offset // self.chunk_size, -(-(offset + length) // self.chunk_size)
        return range(bisect_left(self.indices, first), bisect_left(self.indices, last))

    def data_size(self) -> int:
        """The bytes of all chunks with data together."""
        return sum(self.length(place) for place in range(len(self)))

    def holes(self, size: int) -> Iterator[tuple[int, int]]:
        """The offset and length of each run of zeros on a disk of `size` bytes, to its end."""
        at = 0
        for place in range(len(self)):
            offset = self.offset(place)
            if offset > at:
                yield at, offset - at
            at = offset + self.length(place)
        if size > at:
            yield at, size - at


class FrameMap:
    """Where the frames of an image's chunks are in its zstd file."""

    def __init__(self, offsets: array[int], lengths: array[int]) -> None:
        self._offsets = offsets
        self._lengths = lengths

    def span(self, first: int, stop: int) -> tuple[int, int]:
        """The first byte of the frame at a place, and the byte after that of the place before `stop`."""
        return self._offsets[first], self._offsets[stop - 1] + self._lengths[stop - 1]

    def batches(self, places: Iterator[int], max_bytes: int, max_frames: int) -> Iterator[range]:
        """Consecutive places whose frames one request can fetch: up to `max_bytes` of the file, or a single frame."""
        first = stop = -1
        for place in places:
            if stop < 0:
                first = place
            elif (
                place != stop or stop - first >= max_frames or self.span(first, place + 1)[1] - self._offsets[first] > max_bytes
            ):
                yield range(first, stop)
                first = place
            stop = place + 1
        if stop >= 0:
            yield range(first, stop)


def read_manifest(data: bytes, digest: str) -> ImageChunks:
    """Parse a manifest, if it is the one with this SHA-256; an empty digest accepts any. Raises ImageMismatch."""
    actual = sha256(data).hexdigest()
    if digest and actual != digest:
        raise ImageMismatch(f"the manifest has SHA-256 {actual}, not the expected {digest}: check which image was meant")
    try:
        return _chunks(actual, json.loads(data))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ImageMismatch(f"the manifest {actual} cannot be read: {error}; check the URL") from None


def read_frames(data: bytes, chunks: ImageChunks) -> FrameMap:
    """Parse the list of an image's frames. Raises ImageMismatch."""
    try:
        return _frames(json.loads(data), chunks)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ImageMismatch(f"the list of frames cannot be read: {error}; check the URL") from None


def _chunks(manifest: str, document: dict[str, Any]) -> ImageChunks:
    size, chunk_size = int(document["size"]), int(document["chunk_size"])
    if document["format"] != _FORMAT:
        raise ValueError(f"its format is {document['format']!r}; a newer agent may know it")
    if size < 1 or not 65_536 <= chunk_size <= 16 << 20 or chunk_size & (chunk_size - 1):
        raise ValueError(f"{size} bytes in chunks of {chunk_size}")
    indices, digests, index = array("Q"), bytearray(), 0
    for entry in document["chunks"]:
        if isinstance(entry, int):
            if entry < 1:
                raise ValueError(f"{entry} chunks of zeros")
            index += entry
        else:
            digest = bytes.fromhex(entry)
            if len(digest) != _DIGEST_BYTES:
                raise ValueError(f"{entry!r} is not a digest")
            digests += digest
            indices.append(index)
            index += 1
    if index != -(-size // chunk_size):
        raise ValueError(f"{index} chunks; {size} bytes have {-(-size // chunk_size)}")
    return ImageChunks(manifest, size, chunk_size, indices, bytes(digests))


def _frames(document: dict[str, Any], chunks: ImageChunks) -> FrameMap:
    if document["format"] != _FRAMES_FORMAT:
        raise ValueError(f"its format is {document['format']!r}; a newer agent may know it")
    offsets, lengths = array("Q"), array("Q")
    index = at = 0
    for count, length, _ in document["frames"]:
        place = len(offsets)
        if not (count > 0 and 0 < length <= chunks.chunk_size + chunks.chunk_size // 128 + 1024):
            raise ValueError(f"{count} frames of {length} bytes")
        if count == 1 and place < len(chunks) and chunks.indices[place] == index:
            offsets.append(at)
            lengths.append(length)
        index += count
        at += count * length
    if len(offsets) != len(chunks):
        raise ValueError(f"it has {len(offsets)} of {len(chunks)} chunks")
    return FrameMap(offsets, lengths)
