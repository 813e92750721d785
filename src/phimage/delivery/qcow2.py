"""The disk as a virtual qcow2 file: its tables are computed when they are read, its clusters are the stored chunks.

Version 3, without compression, backing file or snapshots. A cluster is a chunk, or 2 MiB, qemu's limit, of a larger chunk. The
file consists of header, refcount table, refcount blocks, L1 table, non-empty L2 tables, and data in the order of the disk.
Zeros are not allocated. The disk's size is rounded up to sectors of 512 bytes, qemu's unit.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import accumulate

from phimage.chunks.read import DiskReader
from phimage.delivery.representation import Piece, disk_pieces, zero_pieces

MAX_CLUSTER = 2 << 20
_SECTOR = 512
_ENTRY = 8  # bytes of an entry in the L1, L2 and refcount tables
_REFCOUNT = 2  # bytes of a reference count
_COPIED = 1 << 63  # the cluster's reference count is one
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_HEADER_BYTES = 104
_CACHED_TABLES = 2  # clusters


# docs/decisions.md#the-qcow2-is-computed-and-not-stored
class Qcow2Disk:
    """A disk as a qcow2 file. The tables read last are cached; any is quickly computed again."""

    media_type = "application/x-qemu-disk"
    digest = ""

    def __init__(self, reader: DiskReader) -> None:
        self._reader = reader
        self._manifest = manifest = reader.manifest
        self._cluster = min(manifest.chunk_size, MAX_CLUSTER)
        self._per_table = self._cluster // _ENTRY
        self._virtual = -(-manifest.size // _SECTOR) * _SECTOR
        counts = [run.stop - run.first for run in manifest.runs]
        self._before = [0, *accumulate(counts)]  # stored chunks before each run
        self._tables = self._used_tables()
        self._l1_entries = -(-self._virtual // (self._cluster * self._per_table))
        self._l1_clusters = self._clusters_of(self._l1_entries * _ENTRY)
        self._data_clusters = self._count_data()
        self._blocks, self._table_clusters = self._count_refcounts()
        self._l1_at = 1 + self._table_clusters + self._blocks
        self._l2_at = self._l1_at + self._l1_clusters
        self._data_at = self._l2_at + len(self._tables)
        self._clusters = self._data_at + self._data_clusters
        self.size = self._clusters * self._cluster
        self.etag = f'"{reader.digest}-qcow2"'
        self.piece_bytes = manifest.chunk_size
        self._table_cluster = lru_cache(maxsize=_CACHED_TABLES)(self._make)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """See Representation."""
        data = self._data_at * self._cluster
        while start < min(stop, data):
            number, skipped = divmod(start, self._cluster)
            ends = min(stop, (number + 1) * self._cluster)
            yield partial(self._part, number, skipped, skipped + ends - start)
            start = ends
        if start < stop:
            yield from self._data(start - data, stop - data)

    def _part(self, number: int, start: int, stop: int) -> bytes:
        return self._table_cluster(number)[start:stop]

    def _data(self, start: int, stop: int) -> Iterator[Piece]:
        """Bytes of the concatenated stored chunks, the last padded to a cluster."""
        size = self._manifest.chunk_size
        run = bisect_right(self._before, start // size) - 1
        while start < stop and run < len(self._manifest.runs):
            shift = (
                self._manifest.runs[run].first - self._before[run]
            ) * size  # from the offset in the data to that on the disk
            ends = max(start, min(stop, self._before[run + 1] * size, self._manifest.size - shift))
            yield from disk_pieces(self._reader, start + shift, ends + shift)
            start, run = ends, run + 1
        if start < stop:
            yield from zero_pieces(stop - start)

    def _make(self, number: int) -> bytes:
        """A cluster of metadata."""
        if number == 0:
            content = self._header()
        elif number < 1 + self._table_clusters:
            content = self._refcount_table(number - 1)
        elif number < self._l1_at:
            content = self._refcount_block(number - 1 - self._table_clusters)
        elif number < self._l2_at:
            content = self._l1(number - self._l1_at)
        else:
            content = self._l2(self._tables[number - self._l2_at])
        return content.ljust(self._cluster, b"\0")

    def _header(self) -> bytes:
        return _HEADER.pack(
            b"QFI\xfb",
            3,
            0,  # no backing file
            0,
            self._cluster.bit_length() - 1,
            self._virtual,
            0,  # not encrypted
            self._l1_entries,
            self._l1_at * self._cluster,
            self._cluster,  # the refcount table
            self._table_clusters,
            0,  # no snapshots
            0,
            0,  # no feature that a reader must know
            0,
            0,
            4,  # reference counts of 16 bits
            _HEADER_BYTES,
        )

    def _refcount_table(self, number: int) -> bytes:
        first = number * self._per_table
        blocks = range(first, min(self._blocks, first + self._per_table))
        return _entries((1 + self._table_clusters + block) * self._cluster for block in blocks)

    def _refcount_block(self, number: int) -> bytes:
        per_block = self._cluster // _REFCOUNT
        return b"\0\1" * min(per_block, self._clusters - number * per_block)

    def _l1(self, number: int) -> bytes:
        first = number * self._per_table
        entries = [0] * min(self._per_table, self._l1_entries - first)
        at = bisect_right(self._tables, first - 1)
        while at < len(self._tables) and self._tables[at] < first + len(entries):
            entries[self._tables[at] - first] = (self._l2_at + at) * self._cluster | _COPIED
            at += 1
        return _entries(entries)

    def _l2(self, table: int) -> bytes:
        """One L2 table. A chunk that is larger than a cluster has several entries."""
        per_chunk = self._manifest.chunk_size // self._cluster
        first = table * self._per_table
        last = min(first + self._per_table, self._clusters_of(self._manifest.size))
        entries = [0] * self._per_table
        runs = self._manifest.runs
        number = max(0, bisect_right(runs, first // per_chunk, key=lambda run: run.first) - 1)
        while number < len(runs) and runs[number].first * per_chunk < last:
            shift = self._data_at + (self._before[number] - runs[number].first) * per_chunk
            for cluster in range(max(first, runs[number].first * per_chunk), min(last, runs[number].stop * per_chunk)):
                entries[cluster - first] = (cluster + shift) * self._cluster | _COPIED
            number += 1
        return _entries(entries)

    def _used_tables(self) -> list[int]:
        """The numbers of the non-empty L2 tables, in order."""
        chunks_per_table = self._per_table // (self._manifest.chunk_size // self._cluster)
        tables: list[int] = []
        for run in self._manifest.runs:
            first, last = run.first // chunks_per_table, (run.stop - 1) // chunks_per_table
            tables.extend(range(first + (1 if tables and tables[-1] == first else 0), last + 1))
        return tables

    def _count_data(self) -> int:
        stored = self._before[-1]
        per_chunk = self._manifest.chunk_size // self._cluster
        runs, last = self._manifest.runs, self._manifest.count - 1
        if runs and runs[-1].stop == last + 1:  # the last chunk may be short
            return (stored - 1) * per_chunk + self._clusters_of(self._manifest.length(last))
        return stored * per_chunk

    def _count_refcounts(self) -> tuple[int, int]:
        """The number of refcount blocks, and of clusters of the refcount table. Both also count themselves, so iterate."""
        others = 1 + self._l1_clusters + len(self._tables) + self._data_clusters
        blocks = table = 1
        while True:
            all_clusters = others + blocks + table
            needed = -(-all_clusters // (self._cluster // _REFCOUNT))
            counts = needed, self._clusters_of(needed * _ENTRY)
            if counts == (blocks, table):
                return counts
            blocks, table = counts

    def _clusters_of(self, size: int) -> int:
        return -(-size // self._cluster)


def _entries(values: Iterator[int] | list[int]) -> bytes:
    entries = list(values)
    return struct.pack(f">{len(entries)}Q", *entries)
