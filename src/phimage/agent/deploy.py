"""Writes an image to a disk, so that nothing on the disk can boot until all of it is right.

The order of writes (docs/decisions.md#head-and-tail-are-written-last): zero the head, the tail and known signatures; zero what
the image has no data for; write each chunk once it is verified; read all of it back; write the tail; write the head. Each step
is durable before the next one begins. So a cut at any point leaves zeros in the first sector and no partition table, and the
same call afterwards fetches only what the disk lacks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeVar

from phimage.agent.block_device import SectorDevice
from phimage.agent.crew import Crew
from phimage.agent.errors import DiskFailed
from phimage.agent.image_source import ServedImage
from phimage.agent.write_plan import MIB, WINDOW, WritePlan

Item = TypeVar("Item")

_THREADS: Final = 3
_LARGE_CHUNK: Final = 4 * MIB
"""Of larger chunks, only one is in memory at a time."""
_ZERO_AT_ONCE: Final = 64 * MIB
_PROBES: Final = 16
"""Chunks at the beginning, and as many spread over the disk, that decide whether all are compared."""
_DISTANT_SIGNATURES: Final = ((64 * MIB, 64, b"_BHRfS_M"), (256 << 30, 64, b"_BHRfS_M"))
"""Signatures outside of head and tail: where, at which offset there, and what. These are the copies of Btrfs' superblock."""
_SIGNATURE_BYTES: Final = 4096

OnPhase = Callable[[str, int, int], object]
"""Receives a phase, the bytes done and the bytes of the phase."""


@dataclass
class WrittenDisk:
    """What a deployment did, in bytes."""

    written: int = 0
    zeroed: int = 0
    read_back: int = 0
    fetched: int = 0
    reused: int = 0
    """Bytes of chunks that were right on the disk already."""
    changed_sectors: list[tuple[int, int]] = field(default_factory=list)


class Deployment:
    """One run. `permit` is called before every write; it may wait, and raises when writing must end."""

    def __init__(
        self,
        device: SectorDevice,
        source: ServedImage,
        plan: WritePlan,
        crew: Crew,
        *,
        read_back: bool,
        permit: Callable[[], object],
        on_phase: OnPhase,
    ) -> None:
        self._device = device
        self._source = source
        self._plan = plan
        self._chunks = plan.chunks
        self._crew = crew
        self._read_back = read_back
        self._permit = permit
        self._on_phase = on_phase
        self._lock = threading.Lock()
        self._head = bytearray(WINDOW)
        self._tail = bytearray(WINDOW)
        self._special: dict[int, tuple[int, int, bytes]] = {}
        """By place, the offset, length and digest of the body's part of chunks that are not written as they are."""
        self._done = 0
        self._result = WrittenDisk(changed_sectors=plan.changed_sectors())

    def run(self) -> WrittenDisk:
        """Deploy. Raises DiskFailed, ImageUnavailable, and what `permit` and `on_phase` raise; then the disk cannot boot."""
        self._wipe()
        self._zero()
        right = self._compare()
        self._write(right)
        self._device.sync()
        if self._read_back:
            self._verify()
        self._commit()
        self._result.fetched = self._source.fetched
        return self._result

    def _wipe(self) -> None:
        """Zero what firmware, kernels and tools look at to find out what a disk is."""
        self._on_phase("wipe", 0, 2 * WINDOW)
        for offset in (0, self._plan.tail_start):
            self._permit()
            self._device.write(offset, bytes(WINDOW))
        for offset, at, signature in _DISTANT_SIGNATURES:
            if offset + _SIGNATURE_BYTES <= self._plan.tail_start:
                found = self._device.read(offset, _SIGNATURE_BYTES)
                if found[at : at + len(signature)] == signature:
                    self._permit()
                    self._device.write(offset, bytes(_SIGNATURE_BYTES))
        self._device.sync()
        self._on_phase("wipe", 2 * WINDOW, 2 * WINDOW)
        self._result.zeroed += 2 * WINDOW

    # docs/decisions.md#zeros-are-written-never-skipped
    def _zero(self) -> None:
        total = sum(length for _, length in self._plan.zeros())
        done = 0
        for offset, length in self._plan.zeros():
            for at in range(offset, offset + length, _ZERO_AT_ONCE):
                self._on_phase("zero", done, total)
                self._permit()
                piece = min(_ZERO_AT_ONCE, offset + length - at)
                self._device.zero(at, piece)
                done += piece
        self._on_phase("zero", total, total)
        self._result.zeroed += total

    # docs/decisions.md#resuming-is-comparing
    def _compare(self) -> set[int]:
        """The places whose chunks are right on the disk already. A few of them show whether there are any."""
        plain = [place for place in range(len(self._chunks)) if self._plan.is_plain(place)]
        probes = {*plain[:_PROBES], *plain[:: max(1, len(plain) // _PROBES)]}
        right: set[int] = set()

        def compare(place: int) -> Iterator[None]:
            length = self._chunks.length(place)
            same = False
            with suppress(DiskFailed):  # writing may heal the sector; if not, reading back fails
                same = self._device.digest(self._chunks.offset(place), length) == self._chunks.digest(place)
            with self._lock:
                self._done += length
                if same:
                    right.add(place)
                    self._result.reused += length
            yield

        self._work("compare", sorted(probes), compare, self._size(probes))
        if right:
            others = [place for place in plain if place not in probes]
            self._work("compare", others, compare, self._size(others))
        return right

    def _write(self, right: set[int]) -> None:
        places = [place for place in range(len(self._chunks)) if place not in right]

        def write(batch: range) -> Iterator[None]:
            for place, raw in self._source.read(self._chunks, batch):
                self._write_chunk(place, raw)
                yield

        self._work("write", self._source.batches(self._chunks, iter(places)), write, self._size(places))

    def _write_chunk(self, place: int, raw: bytes) -> None:
        """Write a verified chunk's part of the body, and hold its parts of head and tail."""
        if self._plan.is_plain(place):
            offset, data = self._chunks.offset(place), raw
        else:
            offset, data = self._plan.body(place, raw)
            with self._lock:
                self._plan.hold(place, raw, self._head, self._tail)
                self._special[place] = offset, len(data), sha256(data).digest()
        if data:
            self._permit()
            self._device.write(offset, data)
        with self._lock:
            self._done += len(raw)
            self._result.written += len(data)

    def _verify(self) -> None:
        """Read the body's chunks from the disk and compare their digests."""

        def verify(place: int) -> Iterator[None]:
            whole = self._chunks.offset(place), self._chunks.length(place), self._chunks.digest(place)
            offset, length, digest = self._special.get(place, whole)
            if length:
                self._check(offset, length, digest)
            with self._lock:
                self._done += self._chunks.length(place)
                self._result.read_back += length
            yield

        self._work("read back", range(len(self._chunks)), verify, self._chunks.data_size())

    def _commit(self) -> None:
        """Write the tail, then the head, and of that the first two sectors last: the boot code and the header of the table.

        A write of a MiB may be cut between any of its sectors. A head that is not known to be right is zeroed again.
        """
        self._plan.change(self._head, self._tail)
        self._on_phase("commit", 0, 2 * WINDOW)
        self._permit()
        self._put(self._plan.tail_start, bytes(self._tail))
        self._on_phase("commit", WINDOW, 2 * WINDOW)
        first = 2 * self._device.sector_size
        self._permit()
        self._put(first, bytes(self._head[first:]))
        self._permit()
        try:
            self._put(0, bytes(self._head[:first]))
        except BaseException:
            with suppress(DiskFailed):
                self._device.write(0, bytes(WINDOW))
                self._device.sync()
            raise
        self._on_phase("commit", 2 * WINDOW, 2 * WINDOW)

    def _put(self, offset: int, window: bytes) -> None:
        """Write a window durably, and read it back."""
        self._device.write(offset, window)
        self._device.sync()
        self._result.written += len(window)
        if self._read_back:
            self._check(offset, len(window), sha256(window).digest())
            self._result.read_back += len(window)

    def _check(self, offset: int, length: int, digest: bytes) -> None:
        if self._device.digest(offset, length) != digest:
            raise DiskFailed(self._device.path, "read back what was written", offset, "the bytes differ")

    def _work(self, phase: str, items: Iterable[Item], task: Callable[[Item], Iterator[object]], total: int) -> None:
        self._done = 0
        threads = _THREADS if self._chunks.chunk_size <= _LARGE_CHUNK else 1
        self._crew.work(items, task, threads, lambda: self._on_phase(phase, self._done, total))

    def _size(self, places: Iterable[int]) -> int:
        return sum(self._chunks.length(place) for place in places)
