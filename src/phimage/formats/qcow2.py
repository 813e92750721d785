"""qcow2, versions 2 and 3. The rules are those of qemu's docs/interop/qcow2.txt; limits on tables are qemu's own.

References outside the file are refused: a backing file, an external data file, by feature bit or by name. Tables must lie
inside the file: the L1 table and each of its L2 tables, the refcount table and its blocks. A refcount of a cluster behind the
end of the file means that the file was cut off, which qemu would hide by reading such clusters as zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Final

from msgspec import Struct

from phimage.formats.errors import Malformed, Truncated
from phimage.formats.finding import FETCH_AGAIN, FLATTEN, REWRITE, InspectionReport, notes, refuses, shown, warns
from phimage.formats.limits import MIB, DiskLimits
from phimage.formats.reader import ReaderAt, exactly, slices, unpack

DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = (1 << bit for bit in range(5))
KNOWN: Final = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2
COMPRESSIONS = {0: "zlib", 1: "zstd"}

BACKING_FORMAT, FEATURE_NAMES, BITMAPS, ENCRYPTION, DATA_FILE_NAME = (
    0xE2792ACA,
    0x6803F857,
    0x23852875,
    0x0537BE77,
    0x44415441,
)

OFFSET: Final = 0x00FFFFFFFFFFFE00
RESERVED_L1: Final = ~(OFFSET | 1 << 63) & (1 << 64) - 1
MAX_EXTENSIONS: Final = 1000
MAX_SNAPSHOTS: Final = 65536
MAX_REFCOUNTS: Final = 8 * MIB
MAX_EMPTY_BLOCKS: Final = 64


KINDS: Final = (
    refuses("qcow2.backing-file", "the disk continues in another file, which the header names", FLATTEN),
    refuses("qcow2.corrupt", "a program marked the file as corrupt", "`qemu-img check -r all`, then compare with the original"),
    refuses("qcow2.data-file", "the data is in another file, which the header names", FLATTEN),
    refuses("qcow2.encrypted", "the data is encrypted", "`qemu-img convert` with its secret to a plain image"),
    refuses("qcow2.malformed", "the header or a table breaks the qcow2 rules", REWRITE),
    refuses("qcow2.truncated", "a table or data lies beyond the end of the file", FETCH_AGAIN),
    refuses("qcow2.unknown-feature", "the file needs a feature that phimage does not know", REWRITE),
    refuses("qcow2.version", "neither version 2 nor version 3", REWRITE),
    warns(
        "qcow2.dirty",
        "the file was not closed properly; its reference counts may be wrong, its data is not affected",
        "`qemu-img check -r all`",
    ),
    notes("qcow2.snapshots", "the file has internal snapshots; only the present state is published", "nothing"),
    notes(
        "qcow2.unknown-extension",
        "the header has an extension that phimage does not know and that readers may ignore",
        "nothing",
    ),
)


class Qcow2Header(Struct, frozen=True):
    """The inspected fields of the header, with defaults for version 2."""

    version: int
    backing_offset: int
    backing_size: int
    cluster_bits: int
    size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    snapshots_offset: int
    features: int = 0
    refcount_order: int = 4
    length: int = 72
    compression: int = 0

    @property
    def cluster(self) -> int:
        """The size of a cluster in bytes."""
        return 1 << self.cluster_bits


def inspect(reader: ReaderAt, report: InspectionReport, limits: DiskLimits) -> None:
    """Inspect a file with the qcow2 signature. Raises Malformed, Truncated."""
    header = _header(reader, report)
    if header is None:
        return
    report.virtual_size = header.size
    report.details |= {"version": header.version, "cluster": header.cluster}
    _outside(header, reader, report)
    _features(header, report)
    _extensions(header, reader, report)
    if report.refused:
        return
    if header.snapshots:
        _snapshots(header, reader, report)
    _l1(header, reader, limits)
    _refcounts(header, reader, limits)


def _header(reader: ReaderAt, report: InspectionReport) -> Qcow2Header | None:
    (version,) = unpack(">I", reader, 4, "version")
    if version not in (2, 3):
        report.note("qcow2.version", f"version {version}")
        return None
    fields = (version, *unpack(">QIIQIIQQIIQ", reader, 8, "header"))
    if version == 3:
        features, _compatible, _autoclear, order, length = unpack(">QQQII", reader, 72, "header")
        if length < 104 or length % 8 or order > 6:
            raise Malformed(f"header of {length} bytes, refcounts of order {order}")
        compression = exactly(reader, 104, 1, "header")[0] if length > 104 else 0
        fields += (features, order, length, compression)
    header = Qcow2Header(*fields)
    if not 9 <= header.cluster_bits <= 21:
        raise Malformed(f"clusters of 2^{header.cluster_bits} bytes")
    if header.length > header.cluster:
        raise Malformed(f"the header of {header.length} bytes is longer than a cluster")
    if header.size % 512:
        raise Malformed(f"the virtual size {header.size} is not a multiple of 512")
    return header


def _outside(header: Qcow2Header, reader: ReaderAt, report: InspectionReport) -> None:
    if header.backing_offset:
        name = reader.read_at(header.backing_offset, min(header.backing_size, 1023))
        report.note("qcow2.backing-file", f"it continues in {shown(name)}")
    if header.features & DATA_FILE:
        report.note("qcow2.data-file", "its data is in another file")
    if header.encryption:
        report.note("qcow2.encrypted", {1: "AES", 2: "LUKS"}.get(header.encryption, f"method {header.encryption}"))


def _features(header: Qcow2Header, report: InspectionReport) -> None:
    if header.features & ~KNOWN:
        report.note("qcow2.unknown-feature", f"incompatible features {header.features & ~KNOWN:#x}")
    if header.features & CORRUPT:
        report.note("qcow2.corrupt", "the corrupt bit is set")
    if header.features & DIRTY:
        report.note("qcow2.dirty", "the dirty bit is set")
    if bool(header.features & COMPRESSION) != bool(header.compression):
        raise Malformed("the compression type and its feature bit contradict each other")
    if header.compression not in COMPRESSIONS:
        report.note("qcow2.unknown-feature", f"compression type {header.compression}")
    if header.features & EXTENDED_L2 and header.cluster_bits < 14:
        raise Malformed("extended L2 entries need clusters of 16 KiB")
    report.details["compression"] = COMPRESSIONS.get(header.compression, "")


def _extensions(header: Qcow2Header, reader: ReaderAt, report: InspectionReport) -> None:
    for type, data in _each_extension(header, reader):
        if type == DATA_FILE_NAME:
            report.note("qcow2.data-file", f"its data is in {shown(data)}")
        elif type == ENCRYPTION:
            report.note("qcow2.encrypted", "it has an encryption header")
        elif type not in (BACKING_FORMAT, FEATURE_NAMES, BITMAPS):
            report.note("qcow2.unknown-extension", f"extension {type:#010x}")


def _each_extension(header: Qcow2Header, reader: ReaderAt) -> Iterator[tuple[int, bytes]]:
    offset = header.length
    end = header.backing_offset if 0 < header.backing_offset < header.cluster else header.cluster
    for _ in range(MAX_EXTENSIONS):
        if offset + 8 > end:
            return
        type, length = unpack(">II", reader, offset, "header extension")
        if not type:
            return
        if length > end - offset - 8:
            raise Malformed(f"header extension {type:#010x} of {length} bytes exceeds the first cluster")
        yield type, exactly(reader, offset + 8, min(length, 1024), "header extension")
        offset += 8 + (length + 7 & ~7)
    raise Malformed(f"more than {MAX_EXTENSIONS} header extensions")


def _snapshots(header: Qcow2Header, reader: ReaderAt, report: InspectionReport) -> None:
    if header.snapshots > MAX_SNAPSHOTS:
        raise Malformed(f"{header.snapshots} snapshots")
    _inside(header, reader, header.snapshots_offset, 40 * header.snapshots, "snapshot table")
    report.note("qcow2.snapshots", f"{header.snapshots} snapshots")


def _l1(header: Qcow2Header, reader: ReaderAt, limits: DiskLimits) -> None:
    entry = 16 if header.features & EXTENDED_L2 else 8
    covered = header.cluster * (header.cluster // entry)
    if header.l1_entries * 8 > limits.table:
        raise Malformed(f"an L1 table of {header.l1_entries} entries")
    if header.l1_entries < -(-header.size // covered):
        raise Malformed(f"an L1 table of {header.l1_entries} entries is too small for {header.size} bytes")
    _inside(header, reader, header.l1_offset, 8 * header.l1_entries, "L1 table")
    for _start, part in slices(reader, header.l1_offset, 8 * header.l1_entries, "L1 table", 1 << 16):
        entries = struct.unpack(f">{len(part) // 8}Q", part)
        if reduce(or_, entries) & RESERVED_L1:  # all at once: the table may have millions of entries
            raise Malformed("L1 entries have reserved bits")
        offsets = [value & OFFSET for value in entries]
        if reduce(or_, offsets) % header.cluster:
            raise Malformed("an L2 table does not begin at a cluster")
        if last := max(offsets):
            _inside(header, reader, last, header.cluster, "L2 table")


def _refcounts(header: Qcow2Header, reader: ReaderAt, limits: DiskLimits) -> None:
    length = header.refcount_clusters * header.cluster
    if not length or length > MAX_REFCOUNTS:
        raise Malformed(f"a refcount table of {header.refcount_clusters} clusters")
    _inside(header, reader, header.refcount_offset, length, "refcount table")
    bits = 1 << header.refcount_order
    counted = header.cluster * 8 // bits
    clusters = -(-reader.size // header.cluster)
    behind = 0
    for index, value in _entries(reader, header.refcount_offset, length // 8, "refcount table"):
        _inside(header, reader, value, header.cluster, "refcount block")
        if (index + 1) * counted <= clusters or header.features & DIRTY:
            continue
        behind += 1
        first = max(0, clusters - index * counted)
        skipped = -(-first * bits // 8)
        block = exactly(reader, value + skipped, header.cluster - skipped, "refcount block")
        if block.count(0) != len(block):
            raise Truncated(f"clusters beyond the end of the file at {reader.size} are in use")
        if behind > MAX_EMPTY_BLOCKS:
            raise Malformed("too many refcount blocks for clusters beyond the end of the file")


def _entries(reader: ReaderAt, offset: int, count: int, what: str) -> Iterator[tuple[int, int]]:
    """The non-zero entries of a table, each with its index."""
    for start, part in slices(reader, offset, 8 * count, what, 1 << 16):
        if part.count(0) != len(part):
            entries = struct.unpack(f">{len(part) // 8}Q", part)
            yield from ((start // 8 + index, value) for index, value in enumerate(entries) if value)


def _inside(header: Qcow2Header, reader: ReaderAt, offset: int, length: int, what: str) -> None:
    """Check that a table begins at a cluster and lies in the file, whose last cluster may be incomplete."""
    if offset % header.cluster:
        raise Malformed(f"the {what} at {offset} does not begin at a cluster")
    if offset + length > -(-reader.size // header.cluster) * header.cluster:
        raise Truncated(f"the {what} at {offset} with {length} bytes exceeds the file, which ends at byte {reader.size}")
    if not offset and length:
        raise Malformed(f"the {what} overlaps the header")
