"""Uploads by chunks: a client sends the frames of a raw disk that the server lacks, and then seals the list of all chunks.

    uploads/{job}/chunks/{digest}     a frame that the client sent, verified, with the digest of its raw bytes
    uploads/{job}/sealed              the manifest of the disk, without its facts and its digest
    uploads/{job}/asked               empty: when the client last asked, while it sends little

The frames are the job's own until its publisher has read the whole disk and puts them where other images find them. So no
garbage collection meets them, and what a client may name is what it sent, or what it may read anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from phimage.chunks.errors import Absent, BadUpload
from phimage.chunks.frame import Damaged, is_canonical, pack, unpack, unpack_bounded, zero_digest, zeros, zstd
from phimage.chunks.layout import CHUNK_SIZE, ChunkDigest, DiskDigest, chunk_name
from phimage.chunks.manifest import FORMAT, Manifest, build, encode
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store
from phimage.chunks.uploads import UPLOADS, UploadReader, skipping
from phimage.model.ids import JobId

MAX_ASKED: Final = 4096
"""Max digests of one question."""

MAX_FRAMES_BYTES: Final = 16 << 20
"""Max bytes of the frames that are sent at once."""

MAX_FRAMES: Final = 256
"""Max number of frames that are sent at once: small ones unpack to a thousand times their size."""

MAX_SEAL_BYTES: Final = 16 << 20
"""Max bytes of a seal: about 250,000 chunks that are not zeros. Larger disks are sent in parts."""

_AHEAD: Final = 4
_DIGEST_BYTES: Final = 32
_NO_DIGEST: Final = DiskDigest("0" * 64)  # of the whole disk, which the publisher computes


class FrameOfChunk(Struct, frozen=True):
    """A frame to keep, and the digest of its raw bytes."""

    digest: ChunkDigest
    frame: bytes


class _Sealed(Struct, frozen=True, forbid_unknown_fields=True):
    chunk_size: int
    chunks: list[str | int]
    format: str
    size: int


def read_digests(body: bytes) -> list[ChunkDigest]:
    """Digests that follow one another. Raises ValueError."""
    if len(body) % _DIGEST_BYTES or len(body) > MAX_ASKED * _DIGEST_BYTES:
        raise ValueError(f"a question has at most {MAX_ASKED} digests of {_DIGEST_BYTES} bytes, this one has {len(body)} bytes")
    return [ChunkDigest(body[at : at + _DIGEST_BYTES]) for at in range(0, len(body), _DIGEST_BYTES)]


# docs/decisions.md#uploads-by-chunks
def read_frames(body: bytes) -> list[FrameOfChunk]:
    """Unpack and hash frames that follow one another. One that is not in canonical form is packed again. Raises Damaged."""
    found: list[FrameOfChunk] = []
    view = memoryview(body)
    while view:
        if len(found) == MAX_FRAMES:
            raise Damaged(f"more than {MAX_FRAMES} frames are sent at once")
        try:
            size = zstd.get_frame_size(view)
        except zstd.ZstdError as error:
            raise Damaged(f"frame {len(found)} cannot be read: {error}") from error
        frame, view = bytes(view[:size]), view[size:]
        digest, raw = unpack_bounded(frame, CHUNK_SIZE)
        if digest == zero_digest(len(raw)):
            raise Damaged(f"frame {len(found)} is a chunk of zeros, which is not sent but counted")
        found.append(FrameOfChunk(digest, frame if is_canonical(frame, len(raw)) else pack(raw)))
    return found


def put_frames(store: Store, job: JobId, frames: Iterable[FrameOfChunk]) -> None:
    """Keep frames for a job, durably on return. Idempotent."""
    store.put_all([(_name(job, each.digest), each.frame) for each in frames])


def sent_chunks(store: Store, job: JobId) -> set[ChunkDigest]:
    """The chunks that a job has sent."""
    names = (stored.name.rpartition("/")[2] for stored in store.list(f"{UPLOADS}/{job}/chunks"))
    return {ChunkDigest(bytes.fromhex(name)) for name in names}


def is_sent(store: Store, job: JobId, digest: ChunkDigest) -> bool:
    """Whether a job has sent a chunk."""
    return store.find(_name(job, digest)) is not None


def read_seal(body: bytes) -> Manifest:
    """The manifest of a sealed disk, with a digest of zeros. Raises ValueError unless it is in canonical form."""
    try:
        document = msgspec.json.decode(body, type=_Sealed)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if document.format != FORMAT or document.chunk_size != CHUNK_SIZE:
        raise ValueError(f"its format must be {FORMAT!r} with chunks of {CHUNK_SIZE} bytes")
    chunks = (chunk if isinstance(chunk, int) else ChunkDigest(bytes.fromhex(chunk)) for chunk in document.chunks)
    manifest = build(document.size, document.chunk_size, _NO_DIGEST, chunks, {})
    canonical = msgspec.json.decode(encode(manifest))["chunks"]
    if document.chunks != canonical or msgspec.json.encode(document, order="sorted") != body:
        raise ValueError("its bytes are not in canonical form")
    return manifest


def put_seal(store: Store, job: JobId, body: bytes) -> None:
    """Keep a seal that `read_seal` accepts. What was sealed last counts."""
    store.put(_seal_name(job), body)


def drop_seal(store: Store, job: JobId) -> None:
    """Forget what was sealed for a job, whose upload goes on with parts. Idempotent."""
    if store.find(_seal_name(job)) is not None:
        store.delete(_seal_name(job))


def find_seal(store: Store, job: JobId) -> Manifest | None:
    """What was sealed for a job; None if nothing was. Raises BadUpload."""
    try:
        return read_seal(store.get(_seal_name(job)))
    except Absent:
        return None
    except ValueError as error:
        raise BadUpload(job, f"its seal is damaged: {error}") from error


class ChunkSource:
    """A sealed upload as a source (`phimage.sources.source.ImageSource`)."""

    repeatable: Final = True

    def __init__(self, store: Store, job: JobId, sealed: Manifest, name: str = "-") -> None:
        self.name = name
        self.size = sealed.size
        self.chunk_size = sealed.chunk_size
        self._store = store
        self._job = job
        self._sealed = sealed

    @property
    def version(self) -> str:
        """The id of the job, whose disk is sealed."""
        return self._job

    def head(self, size: int) -> bytes:
        """The first bytes, at most a chunk."""
        digest = self._sealed.chunk(0)
        return (zeros(self._sealed.length(0)) if digest is None else self._chunk((0, digest))[0])[:size]

    def chunks(self) -> Iterator[tuple[bytes, FrameOfChunk] | int]:
        """The disk in order: the verified bytes of a chunk with its frame, or a number of zeros.

        Raises BadUpload and StoreFailure.
        """
        end = 0
        for index, found in zip(*self._stored(), strict=True):
            if index > end:
                yield (index - end) * self.chunk_size
            end = index + 1
            yield found
            del found  # before the next one is loaded
        if end < self._sealed.count:
            yield self.size - end * self.chunk_size

    def open(self, offset: int = 0) -> UploadReader:
        """Read from `offset` on. Lazy: nothing is read before the first `read`."""
        pieces = (piece if isinstance(piece, int) else piece[0] for piece in self.chunks())
        return UploadReader(skipping(pieces, offset), max(0, self.size - offset))

    def _stored(self) -> tuple[Iterator[int], Iterator[tuple[bytes, FrameOfChunk]]]:
        return (index for index, _ in self._sealed.stored()), prefetch(self._chunk, self._sealed.stored(), _AHEAD)

    def _chunk(self, which: tuple[int, ChunkDigest]) -> tuple[bytes, FrameOfChunk]:
        """A chunk as the job sent it, or as an image has it."""
        index, digest = which
        frame = b""
        for name in (_name(self._job, digest), chunk_name(digest)):
            try:
                frame = self._store.get(name)
                break
            except Absent:
                continue
        try:
            return unpack(frame, digest, self._sealed.length(index)), FrameOfChunk(digest, frame)
        except Damaged as damaged:
            reason = f"is damaged: {damaged}" if frame else "is not in the store any more"
            raise BadUpload(self._job, f"chunk {index} ({digest.hex()}) {reason}") from None


def _name(job: JobId, digest: ChunkDigest) -> str:
    return f"{UPLOADS}/{job}/chunks/{digest.hex()}"


def _seal_name(job: JobId) -> str:
    return f"{UPLOADS}/{job}/sealed"
