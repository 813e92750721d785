"""The contents of an original: its bytes without its compression, read once and in order, and its digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

from msgspec import Struct

from phimage.chunks.frame import zeros
from phimage.chunks.uploaded_chunks import ChunkSource, FrameOfChunk
from phimage.chunks.uploads import UploadSource
from phimage.chunks.write import DiskWriter
from phimage.formats.limits import DiskLimits
from phimage.formats.recognise import recognise_head
from phimage.publishing.original import SECTOR, Original, bounded, is_plain, is_raw
from phimage.publishing.progress import UNPACK, JobProgress
from phimage.sources.digest import Algorithm, Digests, ExpectedDigest, Hashes, VerifyingReader
from phimage.sources.progress import TransferProgress
from phimage.sources.sniff import HEAD
from phimage.sources.unpack import ZEROS, Unpacker

Piece = bytes | int | tuple[bytes, FrameOfChunk]
"""Some bytes, a number of zeros, or a chunk with the frame that was sent of it."""

_ZEROS_BYTES = 1 << 20


class Contents(Struct, frozen=True):
    """`size` is known before the pieces are read, or None. `digests` returns the original's after the last piece, and None
    where the original is the disk: then storing the disk computes it."""

    seems_raw: bool
    size: int | None
    pieces: Iterator[Piece]
    digests: Callable[[], Digests | None]

    def bytes_and_zeros(self) -> Iterator[bytes | int]:
        """The pieces without frames."""
        return (piece[0] if isinstance(piece, tuple) else piece for piece in self.pieces)


@contextmanager
def unpacked(original: Original, limits: DiskLimits, overrides: frozenset[str], progress: JobProgress) -> Iterator[Contents]:
    """The contents of an original that is not a plain file. Reading them raises ImageRefused and what the source raises."""
    source = original.source
    progress.update(UNPACK, 0, source.size or 0)
    if isinstance(source, UploadSource | ChunkSource) and is_plain(source):
        yield _plain(source, original.expected)
        return

    def on_progress(unpacked: TransferProgress) -> None:
        progress.update(UNPACK, unpacked.done, unpacked.total or 0)

    with (
        VerifyingReader(source.open(), original.expected, original.where) as reader,
        bounded(limits, overrides) as unpack_limits,
    ):
        blocks = iter(Unpacker(reader, original.where, unpack_limits, total=source.size, on_progress=on_progress))
        first = next(blocks, b"")
        pieces = (len(block) if block is ZEROS else block for block in chain((first,), blocks))
        yield Contents(is_raw(recognise_head(first)), None, pieces, reader.finish)


def write_pieces(writer: DiskWriter, pieces: Iterable[Piece]) -> None:
    """Write the next pieces of a disk. Raises like the writer."""
    for piece in pieces:
        if isinstance(piece, int):
            writer.zeros(piece)
        elif isinstance(piece, tuple):
            writer.chunk(piece[0], piece[1].digest, piece[1].frame)
        else:
            writer.write(piece)


def _plain(source: UploadSource | ChunkSource, expected: ExpectedDigest) -> Contents:
    seems_raw = is_raw(recognise_head(source.head(HEAD)))
    pieces: Iterator[Piece] = source.pieces() if isinstance(source, UploadSource) else source.chunks()
    is_sha256 = expected.digest is None or expected.digest.algorithm is Algorithm.SHA256
    # docs/decisions.md#a-raw-original-is-hashed-where-it-is-stored
    if seems_raw and is_sha256 and source.size % SECTOR == 0:
        return Contents(True, source.size, pieces, lambda: None)
    hashes = Hashes(expected)
    return Contents(seems_raw, source.size, _hashed(pieces, hashes), hashes.digests)


def _hashed(pieces: Iterator[Piece], hashes: Hashes) -> Iterator[bytes | int]:
    """The pieces without their frames: the last chunk of a disk may be padded."""
    for piece in pieces:
        left = piece if isinstance(piece, int) else 0
        while left:
            step = min(left, _ZEROS_BYTES)
            hashes.update(memoryview(zeros(_ZEROS_BYTES))[:step])
            left -= step
        if isinstance(piece, int):
            yield piece
            continue
        data = piece[0] if isinstance(piece, tuple) else piece
        hashes.update(data)
        yield data
