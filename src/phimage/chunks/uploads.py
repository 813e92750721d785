"""Uploads: parts of an original file, put one by one by a client, and read once, in order, when the upload is complete.

A part is stored like a chunk, as one zstd frame, under a name with its number, its size and the SHA-256 of its raw bytes:
`uploads/{job}/{group}/{number}-{size}-{digest}`. So a listing shows which parts have arrived, a resuming client compares
digests instead of trusting sizes, and a damaged part is detected when it is read. A group is a folder of 256 parts, so that
looking for one part lists few objects.

Parts belong to no image, so garbage collection and scrubs ignore them. Ending a job removes its parts.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from hashlib import sha256
from types import TracebackType
from typing import Final

from msgspec import Struct

from phimage.chunks.errors import Absent, BadUpload
from phimage.chunks.frame import Damaged, pack, unpack_in_steps, zero_digest, zero_frame, zeros, zstd
from phimage.chunks.layout import ChunkDigest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store
from phimage.model.ids import JobId

PART: Final = 16 << 20
"""The size of every part in bytes, except the last, which may be shorter."""

MAX_PARTS: Final = 1 << 18
"""Max parts of one upload: 4 TiB. Larger files are published from a URL."""

MAX_FRAME: Final = PART + PART // 128 + 1024
"""The max size of a part's frame in bytes, even for incompressible data."""

UPLOADS: Final = "uploads"

_GROUP: Final = 256
_LEVEL: Final = 1  # a part is read once, and its disk is compressed again
_STEP: Final = 1 << 20
_AHEAD: Final = 2
_MAGIC: Final = bytes.fromhex("28b52ffd")
_CHECKSUM_FLAG: Final = 4
_WINDOW: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: PART.bit_length()}
_JOB = re.compile(r"job-[a-z0-9]{1,40}")
# docs/decisions.md#uploaded-parts-are-objects-in-the-store
_NAME = re.compile(rf"{UPLOADS}/({_JOB.pattern})/[0-9a-f]{{4}}/(\d{{8}})-(\d{{1,8}})-([0-9a-f]{{64}})")


class UploadPart(Struct, frozen=True):
    """A part in the store."""

    number: int
    size: int  # bytes of the original file
    digest: str  # SHA-256 of these, in hexadecimal
    stored: int  # size of its frame in bytes


class PackedPart(Struct, frozen=True):
    """A compressed part. Created by `pack_part` and `check_frame` only."""

    frame: bytes
    size: int
    digest: str


def check_job(text: str) -> JobId | None:
    """A text as the id of a job; None if it is not a valid one."""
    return JobId(text) if _JOB.fullmatch(text) else None


def pack_part(raw: bytes, digest: bytes) -> PackedPart:
    """Compress a part from its raw bytes and their SHA-256, computed by the caller. Raises Damaged for a wrong size."""
    _check_size(len(raw))
    return PackedPart(pack(raw, _LEVEL), len(raw), digest.hex())


def check_frame(frame: bytes) -> PackedPart:
    """Validate a client's frame, which is stored unchanged. Raises Damaged unless `pack` could have made it.

    Decompresses in small pieces, and never beyond the declared size.
    """
    if len(frame) > MAX_FRAME:
        raise Damaged(f"{len(frame)} bytes are too many for a part")
    if frame == zero_frame(PART):  # a fast path: most parts of many disks
        return PackedPart(frame, PART, zero_digest(PART).hex())
    if frame[: len(_MAGIC)] != _MAGIC:
        raise Damaged("it is not a zstd frame")
    try:
        declared = zstd.get_frame_info(frame).decompressed_size
        if declared is None:
            raise Damaged("its frame does not declare its content size")
        if not frame[len(_MAGIC)] & _CHECKSUM_FLAG:
            raise Damaged("its frame has no checksum")
        _check_size(declared)
        size, digest = 0, sha256()
        decompressor = zstd.ZstdDecompressor(options=_WINDOW)
        piece = decompressor.decompress(frame, _STEP)
        while piece:
            size += len(piece)
            digest.update(piece)
            piece = b"" if decompressor.eof or size > declared else decompressor.decompress(b"", _STEP)
    except zstd.ZstdError as error:
        raise Damaged(f"its frame cannot be read: {error}") from error
    if size != declared or not decompressor.eof:
        raise Damaged(f"its frame does not end after the {declared} bytes that it declares")
    if decompressor.unused_data:
        raise Damaged(f"{len(decompressor.unused_data)} bytes follow its frame")
    return PackedPart(frame, size, digest.hexdigest())


def put_part(store: Store, job: JobId, number: int, packed: PackedPart) -> UploadPart:
    """Store a part. Durable on return. Idempotent.

    Another part of this number is removed first: after a failure there is the old one, the new one, or none. Two clients that
    put different parts of one number concurrently may leave both; then neither counts until one is put again.
    """
    name = _name(job, number, packed)
    for other in store.list(_folder(job, number)):
        if other.name != name and _part(other.name, 0, job, number):
            store.delete(other.name)
    store.put(name, packed.frame)
    return UploadPart(number, packed.size, packed.digest, len(packed.frame))


def parts(store: Store, job: JobId) -> list[UploadPart]:
    """The parts in the store by number, without numbers that have two different parts."""
    by_number: dict[int, list[UploadPart]] = {}
    for stored in store.list(f"{UPLOADS}/{job}"):
        part = _part(stored.name, stored.size, job)
        if part is not None:
            by_number.setdefault(part.number, []).append(part)
    return [by_number[number][0] for number in sorted(by_number) if len(by_number[number]) == 1]


def contiguous(parts: Iterable[UploadPart]) -> int:
    """The number of bytes from the beginning of the file to the first gap."""
    size = 0
    for number, part in enumerate(parts):
        if part.number != number:
            break
        size += part.size
        if part.size < PART:
            break
    return size


def check_complete(job: JobId, parts: Iterable[UploadPart], size: int) -> None:
    """Raises BadUpload, with the first wrong parts, unless these parts are a file of `size` bytes."""
    present = {part.number: part.size for part in parts}
    count = -(-size // PART)
    expected = {number: min(PART, size - number * PART) for number in range(count)}
    wrong = (
        ("missing", [number for number in expected if number not in present]),
        ("too many", sorted(number for number in present if number not in expected)),
        ("of a wrong size", [number for number in expected if present.get(number, expected[number]) != expected[number]]),
    )
    reasons = [f"{what}: {_numbers(numbers)}" for what, numbers in wrong if numbers]
    if reasons:
        raise BadUpload(job, f"parts {'; '.join(reasons)}, for a file of {size} bytes in parts of {PART}")


def last_put(store: Store, job: JobId) -> float:
    """The time of the newest part of a job, in Unix seconds; 0 without parts."""
    return max((stored.modified for stored in store.list(f"{UPLOADS}/{job}")), default=0.0)


def remove(store: Store, job: JobId) -> None:
    """Remove all parts of a job. Idempotent. A part put concurrently may stay; `leftovers` finds it."""
    for stored in list(store.list(f"{UPLOADS}/{job}")):
        store.delete(stored.name)


def leftovers(store: Store) -> set[JobId]:
    """The jobs that have parts. Call it before reading the active jobs, so that a new job is not taken for a dead one."""
    return {job for stored in store.list(UPLOADS) if (job := check_job(stored.name.split("/")[1]))}


class UploadSource:
    """A complete upload as a source (`phimage.sources.source.ImageSource`)."""

    repeatable: Final = True

    def __init__(self, store: Store, job: JobId, size: int, name: str = "-") -> None:
        """`name` is the file's name as the client gave it. Raises BadUpload unless the upload is complete."""
        present = parts(store, job)
        check_complete(job, present, size)
        self.name = name
        self.size = size
        self._store = store
        self._job = job
        self._parts = present
        self._head: bytes | None = None

    @property
    def version(self) -> str:
        """The id of the job, whose parts no longer change."""
        return self._job

    def open(self, offset: int = 0) -> UploadReader:
        """Read from `offset` on. Lazy: nothing is read before the first `read`."""
        pieces = skipping(self._pieces(offset // PART), offset % PART)
        return UploadReader(pieces, max(0, self.size - offset))

    def head(self, size: int) -> bytes:
        """The first bytes, at most a MiB."""
        if self._head is None:
            part = self._parts[0]
            pieces = [zeros(part.size)] if _is_zero(part) else list(self._unpacked(part, self._frame(part)))
            self._head = pieces[0][:_STEP]
        return self._head[:size]

    def pieces(self) -> Generator[bytes | int, None, None]:
        """All bytes, in pieces of at most a MiB; for a part of zeros their number. Raises BadUpload and StoreFailure.

        The last piece of a part comes after the whole part has been verified. So what was read is good once all was read.
        """
        return self._pieces(0)

    def _pieces(self, first: int) -> Generator[bytes | int, None, None]:
        parts = self._parts[first:]
        frames = prefetch(lambda part: b"" if _is_zero(part) else self._frame(part), parts, _AHEAD)
        for part in parts:
            if _is_zero(part):  # a fast path: most parts of a sparse file
                next(frames)
                yield part.size
            else:
                yield from self._unpacked(part, next(frames))

    def _frame(self, part: UploadPart) -> bytes:
        try:
            return self._store.get(_name(self._job, part.number, part))
        except Absent:
            raise BadUpload(self._job, f"part {part.number} was removed or replaced while it was read") from None

    def _unpacked(self, part: UploadPart, frame: bytes) -> Generator[bytes, None, None]:
        try:
            yield from unpack_in_steps(frame, ChunkDigest(bytes.fromhex(part.digest)), part.size, _STEP, PART)
        except Damaged as damaged:
            raise BadUpload(self._job, f"part {part.number} is damaged: {damaged}") from damaged


def skipping(pieces: Iterable[bytes | int], skip: int) -> Generator[memoryview, None, None]:
    """Pieces as bytes, without the first `skip` bytes of all."""
    for piece in pieces:
        raw, left = (zeros(_STEP), piece) if isinstance(piece, int) else (piece, len(piece))
        skipped = min(skip, left)
        skip, left = skip - skipped, left - skipped
        while left:
            part = memoryview(raw)[-min(left, len(raw)) :]
            yield part
            left -= len(part)


class UploadReader:
    """The reader of an `UploadSource`. Holds at most two compressed parts in memory: the current one and the next."""

    def __init__(self, pieces: Generator[memoryview, None, None], left: int) -> None:
        """`left` is the total size of the pieces in bytes."""
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._left = left

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end, then b"". Raises BadUpload and StoreFailure.

        After an error or `close` it raises ValueError: open another reader at the offset.
        """
        parts: list[memoryview] = []
        missing = min(size, self._left)
        while missing:
            if not self._piece:
                self._next()
            parts.append(self._piece[:missing])
            self._piece = self._piece[missing:]
            missing -= len(parts[-1])
            self._left -= len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        """Stop prefetching. Idempotent."""
        self._piece = memoryview(b"")
        self._pieces.close()

    def __enter__(self) -> UploadReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def _next(self) -> None:
        self._piece = memoryview(b"")  # release it before the next one is loaded
        piece = next(self._pieces, None)
        if piece is None:
            raise ValueError("the reader was closed, or has failed before")
        self._piece = piece


def _folder(job: JobId, number: int) -> str:
    return f"{UPLOADS}/{job}/{number // _GROUP:04x}"


def _name(job: JobId, number: int, part: UploadPart | PackedPart) -> str:
    return f"{_folder(job, number)}/{number:08d}-{part.size}-{part.digest}"


def _part(name: str, stored: int, job: JobId, number: int | None = None) -> UploadPart | None:
    """Parse an object name; None if it is not a part of this job, and of this number if given."""
    fields = _NAME.fullmatch(name)
    if fields is None or fields[1] != job or (number is not None and int(fields[2]) != number):
        return None
    return UploadPart(int(fields[2]), int(fields[3]), fields[4], stored)


def _is_zero(part: UploadPart) -> bool:
    return part.digest == zero_digest(part.size).hex()


def _check_size(size: int) -> None:
    if not 1 <= size <= PART:
        raise Damaged(f"a part has 1 to {PART} bytes, this one has {size}")


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
