"""Decompression of a stream: detected by its first bytes, one level deep, within limits, verified up to its last byte.

A decompression bomb is recognised by its ratio. Zero blocks have a larger limit: a mostly empty disk is not a bomb, and its
zeros become holes of the file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from phimage.sources.compression import DECODE_ERRORS, MAGIC, Compression, declared_size, decompressor, detect
from phimage.sources.errors import TooLarge, UnpackRefused, error_text
from phimage.sources.partial_file import CHECK_EVERY_BYTES, FreeSpace
from phimage.sources.progress import Clock, Meter, ProgressCallback
from phimage.sources.source import SourceReader

UNIT: Final = 4096
"""Zeros are left out in units of a page, the block size of common file systems."""

_ZERO: Final = bytes(UNIT)
_ZEROS: Final = bytes(1024 * 1024)


class SparseWriter:
    """Writes blocks in order to an empty file and leaves zeros out as holes. `finish` sets the file's size."""

    def __init__(self, descriptor: int) -> None:
        self.size = 0
        self.data = 0
        self._descriptor = descriptor

    def write(self, block: bytes) -> None:
        """Append a block. Blocks whose length is a multiple of `UNIT` give the most holes."""
        if block != _ZEROS[: len(block)]:  # a fast path for the most frequent case
            start = place = 0
            while place < len(block):
                stop = place + UNIT
                unit = block[place:stop]
                if unit == _ZERO or (len(unit) < UNIT and not any(unit)):
                    if start < place:
                        self._put(block, start, place)
                    start = stop
                place = stop
            self._put(block, start, len(block))
        self.size += len(block)

    def skip(self, count: int) -> None:
        """Append zeros as a hole."""
        self.size += count

    def finish(self) -> None:
        """Set the file's size, for a file that ends in a hole."""
        os.ftruncate(self._descriptor, self.size)

    def _put(self, block: bytes, start: int, stop: int) -> None:
        view = memoryview(block)[start:stop]
        self.data += len(view)
        while view:
            written = os.pwrite(self._descriptor, view, self.size + start)
            view, start = view[written:], start + written


BLOCK: Final = 1024 * 1024
"""The size of the blocks, except the last one."""

ZEROS: Final = bytes(BLOCK)
READ_SIZE: Final = 256 * 1024
HEAD: Final = MAGIC + 8
FIRST_READ: Final = 4096
"""The first input of a member. Small, because members may be tiny, and left-over input is copied each time."""

MAX_EMPTY: Final = 1024
"""Max consecutive members without content."""


class UnpackLimits(Struct, frozen=True):
    """Limits of the output: total size; ratio to the input, with and without zero blocks; memory of a decompressor.

    The ratios apply after the first `free` bytes. Real disks: 3 to 20 with data, 200 for 80 GB with 1 GB on it.
    """

    max_size: int = 4 * 1024**4
    ratio: int = 500
    data_ratio: int = 100
    free: int = 64 * 1024 * 1024
    memory: int = 128 * 1024 * 1024


class Unpacker:
    """An iterable over the uncompressed bytes in blocks of `BLOCK` bytes, the last one shorter. Iterate it once.

    A whole block of zeros is `ZEROS` itself.

    Raises UnpackRefused and TooLarge while iterating. The bytes are complete only when the iteration ends normally.
    """

    def __init__(
        self,
        reader: SourceReader,
        where: str,
        limits: UnpackLimits | None = None,
        *,
        total: int | None = None,
        on_progress: ProgressCallback | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`total` is the size of the compressed bytes, which progress counts. `where` names the source in errors."""
        self.compression = Compression.NONE
        self.size = 0
        self.data = 0
        self._input = _Input(reader)
        self._where = where
        self._limits = limits or UnpackLimits()
        self._total = total
        self._meter = Meter(on_progress, clock)

    def __iter__(self) -> Iterator[bytes]:
        head = self._input.peek(HEAD)
        self.compression = detect(head)
        self._check_declared(head)
        first = True
        for block in _blocks(self._plain() if self.compression is Compression.NONE else self._members()):
            if first and self.compression is not Compression.NONE and detect(block) is not Compression.NONE:
                raise self._refused(f"it is {self.compression} with {detect(block)} inside", "decompress it once", "nested")
            first = False
            zeros = ZEROS if len(block) == BLOCK else bytes(len(block))
            is_zero = block == zeros
            if not is_zero:
                self.data += len(block)
                self._check_ratio(self.data, self._limits.data_ratio)
            yield zeros if is_zero else block
            self._meter.update(self.taken, self._total)
        if first:
            raise self._refused("it is empty", "check how it was made", "empty")
        self._meter.finish(self.taken, self._total)

    @property
    def taken(self) -> int:
        """The number of compressed bytes consumed."""
        return self._input.taken

    def _plain(self) -> Iterator[bytes]:
        while piece := self._input.take(READ_SIZE):
            self._count(len(piece))
            yield piece

    def _members(self) -> Iterator[bytes]:
        empty = 0
        while True:
            before = self.size
            yield from self._member()
            empty = empty + 1 if self.size == before else 0
            if empty > MAX_EMPTY:
                raise self._refused(f"{empty} members of it in a row are empty", "compress it again", "empty")
            if not self._another():
                return

    def _member(self) -> Iterator[bytes]:
        """The content of one member. Input after its end is returned to `_input`."""
        step = FIRST_READ
        try:
            inner = decompressor(self.compression, self._limits.memory)
            while not inner.eof:
                piece = b""
                if inner.needs_input:
                    piece = self._input.take(step)
                    step = min(2 * step, READ_SIZE)
                    if not piece:
                        raise self._refused("it is cut short", "get the whole file again", "cut")
                out = inner.decompress(piece, BLOCK)
                self._count(len(out))
                self._check_ratio(self.size, self._limits.ratio)
                yield out
            self._input.put_back(len(inner.unused_data))
        except DECODE_ERRORS as error:
            raise self._damaged(error) from None

    def _another(self) -> bool:
        """Whether another member follows. Padding zeros are skipped: after gzip as on tapes, after xz in multiples of four."""
        zeros = self._input.skip_zeros() if self.compression in (Compression.GZIP, Compression.XZ) else 0
        head = self._input.peek(HEAD)
        if not (self.compression is Compression.XZ and zeros % 4) and (not head or detect(head) is self.compression):
            self._check_declared(head)
            return bool(head)
        message = f"other bytes follow the {self.compression}"
        raise self._refused(message, "get the file again, or cut the other bytes off", "trailing")

    def _count(self, more: int) -> None:
        self.size += more
        if self.size > self._limits.max_size:
            raise self._too_large()

    def _check_declared(self, head: bytes) -> None:
        """Raises TooLarge when the member that begins here declares more bytes than the limit allows."""
        if self.size + (declared_size(self.compression, head) or 0) > self._limits.max_size:
            raise self._too_large()

    def _check_ratio(self, size: int, ratio: int) -> None:
        if size > self._limits.free and size > ratio * self.taken:
            message = f"{self.taken} bytes of it expand to {size}, more than {ratio} to 1, as only a decompression bomb does"
            remedy = "publish it as qcow2, or ask the operator of this server for a larger ratio"
            raise self._refused(message, remedy, "bomb")

    def _damaged(self, error: Exception) -> UnpackRefused:
        if "emory" in str(error):
            message = f"decompressing it takes more than {self._limits.memory >> 20} MiB of memory"
            return self._refused(message, "compress it again: xz -9 or zstd -19 and below need less", "memory")
        return self._refused(f"the {self.compression} is damaged: {error_text(error)}", "get the whole file again", "damaged")

    def _refused(self, what: str, remedy: str, reason: str) -> UnpackRefused:
        return UnpackRefused(self._where, what, remedy, reason=reason, offset=self.taken)

    def _too_large(self) -> TooLarge:
        message = f"it expands to more than the limit of {self._limits.max_size} bytes"
        return TooLarge(self._where, message, "ask the operator of this server for a larger limit", reason="limit")


class _Input:
    """The compressed bytes, with lookahead and put-back."""

    def __init__(self, reader: SourceReader) -> None:
        self.taken = 0
        self._reader = reader
        self._chunk = b""
        self._place = 0

    def peek(self, size: int) -> bytes:
        """The next bytes, without consuming them."""
        while len(self._chunk) - self._place < size and (more := self._reader.read(READ_SIZE)):
            self._chunk, self._place = self._chunk[self._place :] + more, 0
        return self._chunk[self._place : self._place + size]

    def take(self, max_size: int) -> bytes:
        """The next bytes; b"" at the end."""
        if self._place == len(self._chunk):
            self._chunk, self._place = self._reader.read(READ_SIZE), 0
        data = self._chunk[self._place : self._place + max_size]
        self._place += len(data)
        self.taken += len(data)
        return data

    def put_back(self, size: int) -> None:
        """Put the last bytes of the last `take` back."""
        self._place -= size
        self.taken -= size

    def skip_zeros(self) -> int:
        """Consume zeros and return their number."""
        count = 0
        while run := self.peek(FIRST_READ):
            zeros = len(run) - len(run.lstrip(b"\0"))
            self.take(zeros)
            count += zeros
            if zeros < len(run):
                break
        return count


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of `BLOCK`."""
    parts, have = list[bytes](), 0
    for piece in pieces:
        start = 0
        while have + len(piece) - start >= BLOCK:
            stop = start + BLOCK - have
            yield b"".join((*parts, piece[start:stop]))
            parts, have, start = [], 0, stop
        if start < len(piece):
            parts.append(piece[start:])
            have += len(piece) - start
    if parts:
        yield b"".join(parts)


def write_sparse(
    pieces: Iterable[bytes | int], where: str, path: Path, space: FreeSpace, on_size: Callable[[int], object] = lambda _: None
) -> SparseWriter:
    """Write pieces, each bytes or a number of zeros, into a sparse file, replacing an older one.

    `on_size` is called with the size so far before each piece. Raises TooLarge and the errors of `pieces`, and then leaves no
    file.
    """
    path.unlink(missing_ok=True)
    with space.writing(where):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            writer, checked = SparseWriter(descriptor), 0
            for piece in pieces:
                on_size(writer.size)
                if isinstance(piece, int):
                    writer.skip(piece)
                    continue
                if writer.data >= checked:
                    checked = writer.data + CHECK_EVERY_BYTES
                    space.check(where, CHECK_EVERY_BYTES)
                writer.write(piece)
            writer.finish()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    return writer
