"""qcow2, versions 2 and 3. The rules are those of qemu's docs/interop/qcow2.txt; limits on tables are qemu's own.

What reaches outside of the file is refused: a backing file, an external data file, by feature bit or by name. What must
lie inside is looked up: the L1 table and each L2 table it names, the refcount table and its blocks. No refcount may belong
to a cluster behind the end of the file: that is how a file is known to be cut off, because qemu reads such clusters as zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Final

from msgspec import Struct

from phimage.formats.failure import Malformed, Truncated
from phimage.formats.finding import Report, shown
from phimage.formats.limits import MIB, Limits
from phimage.formats.reader import Reader, exactly, slices, unpack

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


class Header(Struct, frozen=True):
    """The fields of the header that decide, with those of version 2 filled up."""

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
        """Bytes of a cluster."""
        return 1 << self.cluster_bits


def inspect(reader: Reader, report: Report, limits: Limits) -> None:
    """Report what a file is that begins with the qcow2 magic. Raises Malformed, Truncated."""
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


def _header(reader: Reader, report: Report) -> Header | None:
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
    header = Header(*fields)
    if not 9 <= header.cluster_bits <= 21:
        raise Malformed(f"clusters of 2^{header.cluster_bits} bytes")
    if header.length > header.cluster:
        raise Malformed(f"the header of {header.length} bytes is longer than a cluster")
    if header.size % 512:
        raise Malformed(f"virtual size {header.size} is no multiple of 512")
    return header


def _outside(header: Header, reader: Reader, report: Report) -> None:
    if header.backing_offset:
        name = reader.read_at(header.backing_offset, min(header.backing_size, 1023))
        report.note("qcow2.backing-file", f"it continues in {shown(name)}")
    if header.features & DATA_FILE:
        report.note("qcow2.data-file", "its data is in another file")
    if header.encryption:
        report.note("qcow2.encrypted", {1: "AES", 2: "LUKS"}.get(header.encryption, f"method {header.encryption}"))


def _features(header: Header, report: Report) -> None:
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


def _extensions(header: Header, reader: Reader, report: Report) -> None:
    for type, data in _each_extension(header, reader):
        if type == DATA_FILE_NAME:
            report.note("qcow2.data-file", f"its data is in {shown(data)}")
        elif type == ENCRYPTION:
            report.note("qcow2.encrypted", "it has an encryption header")
        elif type not in (BACKING_FORMAT, FEATURE_NAMES, BITMAPS):
            report.note("qcow2.unknown-extension", f"extension {type:#010x}")


def _each_extension(header: Header, reader: Reader) -> Iterator[tuple[int, bytes]]:
    offset = header.length
    end = header.backing_offset if 0 < header.backing_offset < header.cluster else header.cluster
    for _ in range(MAX_EXTENSIONS):
        if offset + 8 > end:
            return
        type, length = unpack(">II", reader, offset, "header extension")
        if not type:
            return
        if length > end - offset - 8:
            raise Malformed(f"header extension {type:#010x} of {length} bytes leaves the first cluster")
        yield type, exactly(reader, offset + 8, min(length, 1024), "header extension")
        offset += 8 + (length + 7 & ~7)
    raise Malformed(f"more than {MAX_EXTENSIONS} header extensions")


def _snapshots(header: Header, reader: Reader, report: Report) -> None:
    if header.snapshots > MAX_SNAPSHOTS:
        raise Malformed(f"{header.snapshots} snapshots")
    _inside(header, reader, header.snapshots_offset, 40 * header.snapshots, "snapshot table")
    report.note("qcow2.snapshots", f"{header.snapshots} snapshots")


def _l1(header: Header, reader: Reader, limits: Limits) -> None:
    entry = 16 if header.features & EXTENDED_L2 else 8
    covered = header.cluster * (header.cluster // entry)
    if header.l1_entries * 8 > limits.table:
        raise Malformed(f"an L1 table of {header.l1_entries} entries")
    if header.l1_entries < -(-header.size // covered):
        raise Malformed(f"an L1 table of {header.l1_entries} entries is too small for {header.size} bytes")
    _inside(header, reader, header.l1_offset, 8 * header.l1_entries, "L1 table")
    for _start, part in slices(reader, header.l1_offset, 8 * header.l1_entries, "L1 table", 1 << 16):
        entries = struct.unpack(f">{len(part) // 8}Q", part)
        if reduce(or_, entries) & RESERVED_L1:  # the table may have millions of entries: they are looked at together
            raise Malformed("L1 entries have reserved bits")
        offsets = [value & OFFSET for value in entries]
        if reduce(or_, offsets) % header.cluster:
            raise Malformed("an L2 table does not begin at a cluster")
        if last := max(offsets):
            _inside(header, reader, last, header.cluster, "L2 table")


def _refcounts(header: Header, reader: Reader, limits: Limits) -> None:
    length = header.refcount_clusters * header.cluster
    if not length or length > MAX_REFCOUNTS:
        raise Malformed(f"a refcount table of {header.refcount_clusters} clusters")
    _inside(header, reader, header.refcount_offset, length, "refcount table")
    bits = 1 << header.refcount_order
    counted = header.cluster * 8 // bits
    there = -(-reader.size // header.cluster)
    behind = 0
    for index, value in _entries(reader, header.refcount_offset, length // 8, "refcount table"):
        _inside(header, reader, value, header.cluster, "refcount block")
        if (index + 1) * counted <= there or header.features & DIRTY:
            continue
        behind += 1
        first = max(0, there - index * counted)
        skipped = -(-first * bits // 8)
        block = exactly(reader, value + skipped, header.cluster - skipped, "refcount block")
        if block.count(0) != len(block):
            raise Truncated(f"clusters behind the end of the file at {reader.size} are in use")
        if behind > MAX_EMPTY_BLOCKS:
            raise Malformed("refcount blocks for what lies far behind the end of the file")


def _entries(reader: Reader, offset: int, count: int, what: str) -> Iterator[tuple[int, int]]:
    """The entries of a table that are not zero, each with its index."""
    for start, part in slices(reader, offset, 8 * count, what, 1 << 16):
        if part.count(0) != len(part):
            entries = struct.unpack(f">{len(part) // 8}Q", part)
            yield from ((start // 8 + index, value) for index, value in enumerate(entries) if value)


def _inside(header: Header, reader: Reader, offset: int, length: int, what: str) -> None:
    """A table begins at a cluster and lies in the file; its last cluster may be cut where the file ends."""
    if offset % header.cluster:
        raise Malformed(f"the {what} at {offset} does not begin at a cluster")
    if offset + length > -(-reader.size // header.cluster) * header.cluster:
        raise Truncated(f"the {what} at {offset} with {length} bytes leaves the file, which ends at {reader.size}")
    if not offset and length:
        raise Malformed(f"the {what} lies over the header")
