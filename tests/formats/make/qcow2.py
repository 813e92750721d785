"""Makes qcow2 images."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.formats.make.content import MIB


def qcow2(
    *,
    version: int = 3,
    size: int = 4 * MIB,
    cluster_bits: int = 16,
    backing: bytes = b"",
    backing_offset: int | None = None,
    encryption: int = 0,
    features: int = 0,
    compatible: int = 0,
    autoclear: int = 0,
    refcount_order: int = 4,
    header_length: int = 104,
    compression: int | None = None,
    extensions: Sequence[tuple[int, bytes]] = (),
    l1_entries: int | None = None,
    l1_offset: int | None = None,
    refcount_offset: int | None = None,
    refcount_clusters: int = 1,
    snapshots: int = 0,
    snapshots_offset: int = 0,
    data: bytes = b"",
) -> bytes:
    """An image of five clusters and its data: header, refcount table, refcount block, L1 table, L2 table, data."""
    cluster = 1 << cluster_bits
    used = 5 + -(-len(data) // cluster)
    if compression is not None:
        header_length = 112
    head = bytearray(cluster)
    after = bytearray()
    for type, value in extensions:
        after += struct.pack(">II", type, len(value)) + value + bytes(-len(value) % 8)
    after += bytes(8)
    start = header_length if version == 3 else 72
    name_at = start + len(after) if backing else 0
    struct.pack_into(
        ">4sIQIIQIIQQIIQ",
        head,
        0,
        b"QFI\xfb",
        version,
        name_at if backing_offset is None else backing_offset,
        len(backing),
        cluster_bits,
        size,
        encryption,
        -(-size // (cluster * cluster // 8)) if l1_entries is None else l1_entries,
        3 * cluster if l1_offset is None else l1_offset,
        cluster if refcount_offset is None else refcount_offset,
        refcount_clusters,
        snapshots,
        snapshots_offset,
    )
    if version == 3:
        struct.pack_into(">QQQII", head, 72, features, compatible, autoclear, refcount_order, header_length)
        if compression is not None:
            head[104] = compression
    head[start : start + len(after)] = after
    head[start + len(after) : start + len(after) + len(backing)] = backing
    table = struct.pack(">Q", 2 * cluster).ljust(cluster, b"\0")
    counts = struct.pack(f">{used}H", *[1] * used).ljust(cluster, b"\0")
    l1 = struct.pack(">Q", 4 * cluster | 1 << 63).ljust(cluster, b"\0")
    mapped = [(5 + index) * cluster | 1 << 63 for index in range(used - 5)]
    l2 = struct.pack(f">{len(mapped)}Q", *mapped).ljust(cluster, b"\0")
    return bytes(head[:cluster]) + table + counts + l1 + l2 + data.ljust((used - 5) * cluster, b"\0")
