"""Files on their way in: parts of an original file, put one by one by a client and read once, in order, when all are there.

A part is kept as a chunk is, one zstd frame, under a name that tells its number, its size and the SHA-256 of its raw bytes:
`uploads/{job}/{group}/{number}-{size}-{digest}`. So what has come is known from a listing, a client that goes on compares
digests instead of trusting sizes, and a part that went bad is found when it is read. A group is a folder of 256 parts, so
that a look for one part lists few.

Parts are nobody's image: collections and scrubs do not know them. Who ends a job removes them.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from hashlib import sha256
from types import TracebackType
from typing import Final

from msgspec import Struct

from phimage.chunks.errors import Absent, BadUpload
from phimage.chunks.frame import Damaged, pack, unpack, zero_digest, zero_frame, zeros, zstd
from phimage.chunks.layout import ChunkDigest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store
from phimage.model.ids import JobId

PART: Final = 16 << 20
"""Bytes of every part but the last, which may be shorter."""

MAX_PARTS: Final = 1 << 18
"""Of one upload: 4 TiB. What is larger comes from a URL."""

MAX_FRAME: Final = PART + PART // 128 + 1024
"""Bytes of a part's frame: no compression makes them more."""

UPLOADS: Final = "uploads"

_GROUP: Final = 256
_LEVEL: Final = 1  # it is read once and then compressed anew
_STEP: Final = 1 << 20
_AHEAD: Final = 2
_MAGIC: Final = bytes.fromhex("28b52ffd")
_CHECKSUM_FLAG: Final = 4
_WINDOW: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: PART.bit_length()}
_JOB = re.compile(r"job-[a-z0-9]{1,40}")
_NAME = re.compile(rf"{UPLOADS}/({_JOB.pattern})/[0-9a-f]{{4}}/(\d{{8}})-(\d{{1,8}})-([0-9a-f]{{64}})")


class Part(Struct, frozen=True):
    """A part that is in the store."""

    number: int
    size: int  # bytes of the original file
    digest: str  # SHA-256 of these, in hexadecimal
    stored: int  # bytes of its frame


class Packed(Struct, frozen=True):
    """A part as it is kept. Made by `pack_part` and `check_frame` only."""

    frame: bytes
    size: int
    digest: str


def check_job(text: str) -> JobId | None:
    """A text as the name of a job; None if it cannot be one."""
    return JobId(text) if _JOB.fullmatch(text) else None


def pack_part(raw: bytes, digest: bytes) -> Packed:
    """A part from its raw bytes and their SHA-256, which the caller has made of them. Raises Damaged for a wrong size."""
    _check_size(len(raw))
    return Packed(pack(raw, _LEVEL), len(raw), digest.hex())


def check_frame(frame: bytes) -> Packed:
    """A part from somebody else's frame, which is kept as it is. Raises Damaged unless it is one that `pack` could have made.

    Never more than a piece of what it holds is in memory, and nothing is made of it beyond the size that it tells.
    """
    if len(frame) > MAX_FRAME:
        raise Damaged(f"{len(frame)} bytes are too many for a part")
    if frame == zero_frame(PART):  # most of many disks
        return Packed(frame, PART, zero_digest(PART).hex())
    if frame[: len(_MAGIC)] != _MAGIC:
        raise Damaged("it is no zstd frame")
    try:
        told = zstd.get_frame_info(frame).decompressed_size
        if told is None:
            raise Damaged("its frame does not tell its content size")
        if not frame[len(_MAGIC)] & _CHECKSUM_FLAG:
            raise Damaged("its frame has no checksum")
        _check_size(told)
        size, digest = 0, sha256()
        decompressor = zstd.ZstdDecompressor(options=_WINDOW)
        piece = decompressor.decompress(frame, _STEP)
        while piece:
            size += len(piece)
            digest.update(piece)
            piece = b"" if decompressor.eof or size > told else decompressor.decompress(b"", _STEP)
    except zstd.ZstdError as error:
        raise Damaged(f"its frame cannot be read: {error}") from error
    if size != told or not decompressor.eof:
        raise Damaged(f"its frame does not end after the {told} bytes that it tells")
    if decompressor.unused_data:
        raise Damaged(f"{len(decompressor.unused_data)} bytes follow its frame")
    return Packed(frame, size, digest.hexdigest())


def put_part(store: Store, job: JobId, number: int, packed: Packed) -> Part:
    """Keep a part. Durable when it returns. May be repeated.

    Another part of this number is removed first: on failure there is the old one, the new one, or none. Two who put different
    parts of one number at once may leave both; then neither counts, until one is put again.
    """
    name = _name(job, number, packed)
    for other in store.list(_folder(job, number)):
        if other.name != name and _part(other.name, 0, job, number):
            store.delete(other.name)
    store.put(name, packed.frame)
    return Part(number, packed.size, packed.digest, len(packed.frame))


def parts(store: Store, job: JobId) -> list[Part]:
    """The parts that are there, by number. What is there twice, with different bytes, is left out."""
    found: dict[int, list[Part]] = {}
    for stored in store.list(f"{UPLOADS}/{job}"):
        part = _part(stored.name, stored.size, job)
        if part is not None:
            found.setdefault(part.number, []).append(part)
    return [found[number][0] for number in sorted(found) if len(found[number]) == 1]


def contiguous(found: Iterable[Part]) -> int:
    """How many bytes of the file are there without a gap, from its beginning."""
    size = 0
    for number, part in enumerate(found):
        if part.number != number:
            break
        size += part.size
        if part.size < PART:
            break
    return size


def complete(job: JobId, found: Iterable[Part], size: int) -> None:
    """Whether these parts are a file of `size` bytes. Raises BadUpload, which names the first parts that are wrong."""
    there = {part.number: part.size for part in found}
    count = -(-size // PART)
    wanted = {number: min(PART, size - number * PART) for number in range(count)}
    wrong = (
        ("missing", [number for number in wanted if number not in there]),
        ("too many", sorted(number for number in there if number not in wanted)),
        ("of a wrong size", [number for number in wanted if there.get(number, wanted[number]) != wanted[number]]),
    )
    told = [f"{what}: {_numbers(numbers)}" for what, numbers in wrong if numbers]
    if told:
        raise BadUpload(job, f"parts {'; '.join(told)}, for a file of {size} bytes in parts of {PART}")


def last_put(store: Store, job: JobId) -> float:
    """When the newest part of a job was put, in Unix seconds; 0 without parts."""
    return max((stored.modified for stored in store.list(f"{UPLOADS}/{job}")), default=0.0)


def remove(store: Store, job: JobId) -> None:
    """Remove all parts of a job. May be repeated. A part that is being put meanwhile may stay; `leftovers` tells."""
    for stored in list(store.list(f"{UPLOADS}/{job}")):
        store.delete(stored.name)


def leftovers(store: Store) -> set[JobId]:
    """The jobs that have parts. Ask this first and only then which jobs are under way: a new one is not taken for dead."""
    return {JobId(found[1]) for stored in store.list(UPLOADS) if (found := _NAME.fullmatch(stored.name))}


class UploadSource:
    """An upload that is complete, as a source (`phimage.sources.source.Source`)."""

    repeatable: Final = True

    def __init__(self, store: Store, job: JobId, size: int, name: str = "-") -> None:
        """`name` is that of the file, as the client told it. Raises BadUpload unless all parts are there."""
        found = parts(store, job)
        complete(job, found, size)
        self.name = name
        self.size = size
        self._store = store
        self._job = job
        self._parts = found

    @property
    def version(self) -> str:
        """The job: its parts do not change once it takes no more."""
        return self._job

    def open(self, offset: int = 0) -> UploadReader:
        """Read from a place on; nothing is read before the first `read`."""
        return UploadReader(self._raw(offset), max(0, self.size - offset))

    def _raw(self, offset: int) -> Generator[memoryview, None, None]:
        """The bytes from a place on, in pieces of a part."""
        skip = offset % PART
        for raw in prefetch(self._load, self._parts[offset // PART :], _AHEAD):
            yield memoryview(raw)[skip:]
            del raw  # before the next but one is made
            skip = 0

    def _load(self, part: Part) -> bytes:
        if part.digest == zero_digest(part.size).hex():
            return zeros(part.size)  # most of a sparse file is such parts, and nothing else has this digest
        name = _name(self._job, part.number, part)
        try:
            return unpack(self._store.get(name), ChunkDigest(bytes.fromhex(part.digest)), part.size)
        except Absent:
            raise BadUpload(self._job, f"part {part.number} was removed or put anew while it was read") from None
        except Damaged as damaged:
            raise BadUpload(self._job, f"part {part.number} is damaged: {damaged}") from damaged


class UploadReader:
    """Reads an `UploadSource`. Holds two parts at most: the one that is read and the next."""

    def __init__(self, pieces: Generator[memoryview, None, None], left: int) -> None:
        """`left` bytes are in the pieces."""
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._left = left

    def read(self, size: int, /) -> bytes:
        """As many bytes as asked for; fewer only at the end, none after it. Raises BadUpload and StoreFailure.

        After an error, or when it was closed, it raises ValueError: open another at the place.
        """
        found: list[memoryview] = []
        missing = min(size, self._left)
        while missing:
            if not self._piece:
                self._next()
            found.append(self._piece[:missing])
            self._piece = self._piece[missing:]
            missing -= len(found[-1])
            self._left -= len(found[-1])
        return b"".join(found)

    def close(self) -> None:
        """Stop reading ahead. May be repeated."""
        self._piece = memoryview(b"")
        self._pieces.close()

    def __enter__(self) -> UploadReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def _next(self) -> None:
        self._piece = memoryview(b"")  # let it go before the next one comes
        piece = next(self._pieces, None)
        if piece is None:
            raise ValueError("it was closed, or failed before")
        self._piece = piece


def _folder(job: JobId, number: int) -> str:
    return f"{UPLOADS}/{job}/{number // _GROUP:04x}"


def _name(job: JobId, number: int, part: Part | Packed) -> str:
    return f"{_folder(job, number)}/{number:08d}-{part.size}-{part.digest}"


def _part(name: str, stored: int, job: JobId, number: int | None = None) -> Part | None:
    """What a name says; None if it is not that of a part of this job, and of this number."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != job or (number is not None and int(found[2]) != number):
        return None
    return Part(int(found[2]), int(found[3]), found[4], stored)


def _check_size(size: int) -> None:
    if not 1 <= size <= PART:
        raise Damaged(f"a part has 1 to {PART} bytes, this one has {size}")


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:5])
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
