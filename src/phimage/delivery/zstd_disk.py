"""The disk as a zstd file: the stored frames one after another, with a constant frame for each chunk of zeros.

Its size is the sum of the lengths in the frame list, or without a list of the stored objects' sizes, which are read from the
store once. A chunk that is written again, such as after a scrub, may have a frame of another length; reading it then raises
FrameChanged, and the file ends there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from itertools import accumulate

import msgspec
from msgspec import Struct

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.chunks.frame import zero_frame
from phimage.chunks.frame_list import FrameList
from phimage.chunks.layout import ChunkDigest, ManifestDigest, chunk_name
from phimage.chunks.manifest import Manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.read import DiskReader
from phimage.chunks.store import Store
from phimage.delivery.representation import Bytes, InMemory, Piece

_AT_ONCE = 8
_PIECE_BYTES = 1 << 20
_JOINED_BYTES = 64 << 10
"""Shorter frames are joined: sending each alone would take longer than the copy."""

_Part = tuple[int, Callable[[], Bytes]]
"""The length of some frames, or of a part of one, and what reads it."""


class _ZeroSegment(Struct, frozen=True):
    """Consecutive chunks of zeros, all of one length."""

    offset: int  # in the zstd file
    length: int  # of each raw chunk
    count: int

    @property
    def size(self) -> int:
        return self.count * len(zero_frame(self.length))


class _StoredSegment(Struct, frozen=True):
    """Consecutive stored chunks. `ends` is the end of each frame, from the start of the segment."""

    offset: int
    first: int  # index of its first chunk
    place: int  # number of its first chunk among the stored ones
    ends: array[int]

    @property
    def size(self) -> int:
        return self.ends[-1]


class FrameChanged(StoreFailure):
    """A chunk was written again and its frame has another length. A repeated request succeeds."""

    def __init__(self, manifest: ManifestDigest, name: str) -> None:
        self.manifest = manifest
        super().__init__("get", name, "busy", "the chunk was written again; send the request again", passing=True)


class ZstdDisk:
    """A disk as a zstd file. Made by `measure`. `mark` is a short digest of the lengths of its frames."""

    media_type = "application/zstd"
    digest = ""

    def __init__(
        self, reader: DiskReader, segments: tuple[_ZeroSegment | _StoredSegment, ...], frames: FrameList | None
    ) -> None:
        self._reader = reader
        self._segments = segments
        self.frames = frames
        self.size = segments[-1].offset + segments[-1].size
        self.manifest: ManifestDigest = reader.digest
        self.mark = _mark(segments)
        self.etag = f'"{self.manifest}-{self.mark}-zst"'
        self.piece_bytes = max(_PIECE_BYTES, reader.manifest.chunk_size)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """See Representation. A piece has as many frames as fit into a MiB: one change of threads for all of them."""
        parts, size = list[Callable[[], Bytes]](), 0
        for length, part in self._parts(start, stop):
            if parts and size + length > _PIECE_BYTES:
                yield partial(_read, parts)
                parts, size = [], 0
            parts.append(part)
            size += length
        if parts:
            yield partial(_read, parts)

    def _parts(self, start: int, stop: int) -> Iterator[_Part]:
        at = bisect_right(self._segments, start, key=lambda segment: segment.offset) - 1
        while start < stop:
            segment = self._segments[at]
            ends = min(stop, segment.offset + segment.size)
            from_to = start - segment.offset, ends - segment.offset
            yield from self._stored(segment, *from_to) if isinstance(segment, _StoredSegment) else _zeros(segment, *from_to)
            start, at = ends, at + 1

    def listing(self, frames: FrameList) -> InMemory:
        """What each frame is, as JSON: `frames` has the number of equal frames in a row, their length and their SHA-256."""
        rows: list[tuple[int, int, str]] = []
        for segment in self._segments:
            if isinstance(segment, _ZeroSegment):
                frame = zero_frame(segment.length)
                rows.append((segment.count, len(frame), sha256(frame).hexdigest()))
            else:
                listed = (frames[segment.place + number] for number in range(len(segment.ends)))
                rows.extend((1, frame.length, frame.sha256.hex()) for frame in listed)
        content = {"format": "phimage-frames-1", "frames": rows, "manifest": self.manifest}
        etag = f'"{self.manifest}-{self.mark}-frames"'
        return InMemory(msgspec.json.encode(content), etag, "application/json")

    def _stored(self, segment: _StoredSegment, start: int, stop: int) -> Iterator[_Part]:
        number = bisect_right(segment.ends, start)
        while start < stop:
            begins = segment.ends[number - 1] if number else 0
            ends = segment.ends[number]
            place = segment.first + number, segment.place + number
            part = start - begins, min(stop, ends) - begins
            yield part[1] - part[0], partial(self._frame, *place, ends - begins, *part)
            start, number = ends, number + 1

    def _frame(self, index: int, place: int, size: int, start: int, stop: int) -> Bytes:
        frame = self._reader.frame(index, self.frames[place].sha256 if self.frames is not None else b"")
        if len(frame) != size:
            digest = self._reader.manifest.chunk(index)
            raise FrameChanged(self.manifest, chunk_name(digest) if digest else "")
        return frame if (start, stop) == (0, size) else memoryview(frame)[start:stop]


def measure(reader: DiskReader, store: Store, frames: FrameList | None) -> ZstdDisk:
    """The zstd form of a disk. Without a frame list it blocks while it reads the sizes of all frames, and raises BadChunk for a
    missing chunk, and StoreFailure."""
    return ZstdDisk(reader, tuple(_segments(reader, store, frames)), frames)


def _segments(reader: DiskReader, store: Store, frames: FrameList | None) -> Iterator[_ZeroSegment | _StoredSegment]:
    manifest = reader.manifest
    last_is_short = manifest.length(manifest.count - 1) < manifest.chunk_size
    offset = index = place = 0
    for run in manifest.runs:
        for zeros in _zero_segments(manifest, index, run.first, offset, last_is_short):
            yield zeros
            offset += zeros.size
        count = run.stop - run.first
        if frames is not None:
            ends = frames.ends(place, place + count)
        else:
            chunks = ((at, manifest.chunk(at)) for at in range(run.first, run.stop))
            ends = array("Q", accumulate(_sizes(reader, store, chunks)))
        stored = _StoredSegment(offset, run.first, place, ends)
        yield stored
        offset, index, place = offset + stored.size, run.stop, place + count
    yield from _zero_segments(manifest, index, manifest.count, offset, last_is_short)


def _zero_segments(manifest: Manifest, first: int, stop: int, offset: int, last_is_short: bool) -> Iterator[_ZeroSegment]:
    if first == stop:
        return
    short = 1 if last_is_short and stop == manifest.count else 0
    whole = _ZeroSegment(offset, manifest.chunk_size, stop - first - short)
    if whole.count:
        yield whole
    if short:
        yield _ZeroSegment(offset + (whole.size if whole.count else 0), manifest.length(stop - 1), 1)


def _sizes(reader: DiskReader, store: Store, chunks: Iterable[tuple[int, ChunkDigest | None]]) -> Iterator[int]:
    def size(chunk: tuple[int, ChunkDigest | None]) -> int:
        index, digest = chunk
        assert digest is not None
        stored = store.find(chunk_name(digest))
        if stored is None:
            offset = index * reader.manifest.chunk_size
            raise BadChunk(reader.digest, digest.hex(), index, offset, "missing", "it is not in the store")
        return stored.size

    is_local = store.path("chunks") is not None
    return prefetch(size, chunks, 0 if is_local else _AT_ONCE)


def _read(parts: list[Callable[[], Bytes]]) -> list[Bytes]:
    """The bytes of parts, the short ones joined."""
    found, short = list[Bytes](), list[Bytes]()
    for part in parts:
        data = part()
        if len(data) < _JOINED_BYTES:
            short.append(data)
            continue
        if short:
            found.append(b"".join(short))
            short = []
        found.append(data)
    return [*found, b"".join(short)] if short else found


def _zeros(segment: _ZeroSegment, start: int, stop: int) -> Iterator[_Part]:
    """Frames of zeros are small: a part holds many."""
    frame = zero_frame(segment.length)
    step = max(1, _PIECE_BYTES // len(frame)) * len(frame)
    while start < stop:
        ends = min(stop, (start // step + 1) * step)
        yield ends - start, partial(_repeated, frame, start, ends)
        start = ends


def _repeated(frame: bytes, start: int, stop: int) -> bytes:
    """Bytes of an endless repetition of a frame."""
    first = start // len(frame)
    return (frame * (-(-stop // len(frame)) - first))[start - first * len(frame) : stop - first * len(frame)]


def _mark(segments: tuple[_ZeroSegment | _StoredSegment, ...]) -> str:
    """16 digits that differ when the lengths of frames do."""
    lengths = sha256()
    for segment in segments:
        if isinstance(segment, _StoredSegment):
            lengths.update(segment.ends.tobytes())
        else:
            lengths.update(b"%d %d" % (segment.count, len(zero_frame(segment.length))))
    return lengths.hexdigest()[:16]
