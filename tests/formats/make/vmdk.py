"""Makes VMDK images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

from tests.formats.make.content import AT_END, KIB


def descriptor(
    *,
    subformat: str = "monolithicSparse",
    sectors: int = 8192,
    extents: Sequence[str] | None = None,
    parent: str = "ffffffff",
    lines: Sequence[str] = (),
) -> bytes:
    """The text of a descriptor."""
    return "\n".join(
        [
            "# Disk DescriptorFile",
            "version=1",
            "CID=7d1b1c8e",
            f"parentCID={parent}",
            f'createType="{subformat}"',
            "",
            "# Extent description",
            *([f'RW {sectors} SPARSE "disk.vmdk"'] if extents is None else extents),
            "",
            "# The Disk Data Base",
            "#DDB",
            'ddb.virtualHWVersion = "4"',
            'ddb.geometry.cylinders = "8"',
            'ddb.adapterType = "ide"',
            *lines,
            "",
        ]
    ).encode()


def vmdk_header(
    *,
    magic: bytes = b"KDMV",
    version: int = 1,
    flags: int = 3,
    capacity: int = 8192,
    grain: int = 128,
    descriptor_at: int = 1,
    descriptor_size: int = 20,
    entries: int = 512,
    redundant: int = 21,
    directory: int = 26,
    overhead: int = 128,
    unclean: int = 0,
    newlines: bytes = b"\n \r\n",
    compression: int = 0,
) -> bytes:
    """SparseExtentHeader, one sector."""
    return struct.pack(
        "<4sIIQQQQIQQQB4sH433x",
        magic,
        version,
        flags,
        capacity,
        grain,
        descriptor_at,
        descriptor_size,
        entries,
        redundant,
        directory,
        overhead,
        unclean,
        newlines,
        compression,
    )


def vmdk(*, text: bytes | None = None, grains: Mapping[int, bytes] | None = None, header: bytes | None = None) -> bytes:
    """A monolithicSparse image of 4 MiB with a grain directory, its copy, and a grain table each."""
    grains = grains or {}
    data = bytearray(64 * KIB)
    data[:512] = header or vmdk_header()
    text = descriptor() if text is None else text
    data[512 : 512 + len(text)] = text
    table = [0] * 512
    for index, number in enumerate(sorted(grains)):
        table[number] = 128 * (1 + index)
    for directory, entries in ((21, 22), (26, 27)):
        data[directory * 512 : directory * 512 + 4] = struct.pack("<I", entries)
        data[entries * 512 : entries * 512 + 2048] = struct.pack("<512I", *table)
    return bytes(data) + b"".join(grains[number].ljust(64 * KIB, b"\0") for number in sorted(grains))


def marker(value: int, size: int, type: int, padding: bytes = b"") -> bytes:
    """A metadata marker of a stream, one sector."""
    return struct.pack("<QII", value, size, type) + padding.ljust(496, b"\0")


def vmdk_stream(
    *,
    footer: bytes | None = None,
    before: bytes | None = None,
    end: bytes | None = None,
    text: bytes | None = None,
    header: bytes | None = None,
    grain: bytes = b"phimage" * 9000,
) -> bytes:
    """A streamOptimized image of 4 MiB as `ovftool` writes them: the grain directory is known at the end only."""
    shape = {"version": 3, "flags": 0x30001, "redundant": 0, "compression": 1}
    packed = zlib.compress(grain.ljust(64 * KIB, b"\0"))
    body = struct.pack("<QI", 0, len(packed)) + packed
    body += bytes(-len(body) % 512)
    table_at = 128 + len(body) // 512 + 1
    directory_at = table_at + 4 + 1
    text = (
        descriptor(subformat="streamOptimized", extents=['RDONLY 8192 SPARSE "generated-stream.vmdk"'])
        if text is None
        else text
    )
    parts = [
        header or vmdk_header(**shape, directory=AT_END),  # type: ignore[arg-type]
        text.ljust(127 * 512, b"\0"),
        body,
        marker(4, 0, 1),
        struct.pack("<512I", 128, *[0] * 511),
        marker(1, 0, 2),
        struct.pack("<I", table_at).ljust(512, b"\0"),
        marker(1, 0, 3) if before is None else before,
        vmdk_header(**shape, directory=directory_at) if footer is None else footer,  # type: ignore[arg-type]
        marker(0, 0, 0) if end is None else end,
    ]
    return b"".join(parts)


def vmdk_footer(**changes: object) -> bytes:
    """The footer of such a stream, with fields changed."""
    shape: dict[str, object] = {"version": 3, "flags": 0x30001, "redundant": 0, "compression": 1, "directory": 200}
    return vmdk_header(**shape | changes)  # type: ignore[arg-type]
