"""Files made to be expensive: tables of the max size, with as many entries as fit, all of which must be read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from uuid import UUID

from tests.formats import make
from tests.formats.make import GIB, KIB, MIB


def _l1_table() -> bytes:
    """32 MiB of L1 table, every entry naming the same L2 table."""
    cluster, entries = 2 * MIB, 4 * MIB
    start = make.qcow2(cluster_bits=21, size=2 << 40, l1_entries=entries, l1_offset=5 * cluster)
    return start + struct.pack(">Q", 4 * cluster | 1 << 63) * entries


def _refcount_table() -> bytes:
    """8 MiB of refcount table, every entry naming the same empty block for clusters behind the end."""
    cluster = 64 * KIB
    start = make.qcow2(size=GIB, refcount_offset=5 * cluster, refcount_clusters=128)
    return make.patched(start, (2 * cluster, bytes(cluster))) + struct.pack(">Q", 2 * cluster) * MIB


def _grain_tables() -> bytes:
    """A grain directory of 2 TiB and all its tables, which overlap."""
    entries = 65536
    header = make.vmdk_header(capacity=4 << 30, directory=128, flags=1)
    start = make.vmdk(header=header, text=make.descriptor(sectors=4 << 30))
    return start + struct.pack(f"<{entries}I", *range(1 << 11, (1 << 11) + entries)) + bytes(33 * MIB)


def _small_grains() -> bytes:
    """A grain directory of 8 million entries, because a grain is a sector."""
    capacity = 1 << 32
    header = make.vmdk_header(capacity=capacity, grain=1, directory=128, flags=1)
    start = make.vmdk(header=header, text=make.descriptor(sectors=capacity))
    return start + struct.pack("<I", 27) * (capacity // 512)


def _block_table_vhd() -> bytes:
    """32 MiB of block table of a VHD."""
    entries = 8 * MIB
    footer = make.vhd_footer(size=2 * GIB)
    start = make.vhd_dynamic(footer=footer, entries=entries, block=512, table_at=4096)
    return start.ljust(4096, b"\0") + struct.pack(">I", 1) * entries + footer


def _block_table_vhdx() -> bytes:
    """A block table of 2 TiB in blocks of a MiB."""
    blocks = 2 << 20
    regions = [(make.BAT, 4 * MIB, 32 * MIB, 1)]
    start = make.vhdx(size=2 << 40, without=[make.BAT], regions=regions)
    return start[: 4 * MIB] + struct.pack("<Q", 36 * MIB | 6) * blocks + bytes(16 * MIB + MIB)


def _regions() -> bytes:
    """A region table and a metadata table that are full."""

    regions = [(UUID(int=number + 1), 64 * MIB, MIB, 0) for number in range(2045)]
    items = [(UUID(int=number + 1), b"", 0) for number in range(2042)]
    return make.vhdx(regions=regions, items=items)


def _descriptor() -> bytes:
    """A descriptor of the largest size, in as many lines as fit."""
    text = make.descriptor(lines=["a=1"] * 16000)[: 64 * KIB]
    header = make.vmdk_header(descriptor_size=128, directory=0, redundant=0)
    return make.vmdk(header=header, text=text)


def _descriptor_that_backtracks() -> bytes:
    """A descriptor whose lines are slow for careless patterns."""
    text = make.descriptor(lines=["a" * 30000 + "=" + '"' * 3, "RW" + " " * 20000 + "1", "b" + " \t" * 9000 + "c"])
    header = make.vmdk_header(descriptor_size=128, directory=0, redundant=0)
    return make.vmdk(header=header, text=text)


def _partitions() -> bytes:
    """A GPT that is full, and an MBR whose logical partitions go round in a circle."""
    disk = make.gpt(4 * MIB, [(make.LINUX, 64 + number, 64 + number, "x" * 36) for number in range(128)])
    disk[:512] = make.mbr((0, 0xEE, 1, 8191), (0, 5, 2048, 2048))
    disk[2048 * 512 : 2049 * 512] = make.mbr((0, 0x83, 1, 1), (0, 5, 0, 2048))
    return bytes(disk)


def _text() -> bytes:
    """Text that resembles the beginning of everything."""
    return b"{" * 2048 + b"<!--" * 2048 + b"#\n" * 4096


COSTLY: dict[str, Callable[[], bytes]] = {
    "qcow2, 32 MiB of L1 table": _l1_table,
    "qcow2, 8 MiB of refcount table": _refcount_table,
    "vmdk, 65,536 grain tables": _grain_tables,
    "vmdk, 8 million grain tables": _small_grains,
    "vhd, 32 MiB of block table": _block_table_vhd,
    "vhdx, 2 TiB in blocks of a MiB": _block_table_vhdx,
    "vhdx, full tables": _regions,
    "vmdk, a long descriptor": _descriptor,
    "vmdk, a descriptor that backtracks": _descriptor_that_backtracks,
    "raw, full partition tables": _partitions,
    "text": _text,
}
