"""Makes VHD images."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tests.formats.make.content import AT_END, MIB


def _summed(data: bytearray, place: int) -> bytes:
    struct.pack_into(">I", data, place, 0)
    struct.pack_into(">I", data, place, ~sum(data) & 0xFFFFFFFF)
    return bytes(data)


def vhd_footer(
    *,
    size: int = 4 * MIB,
    type: int = 3,
    header_at: int = 512,
    version: int = 0x10000,
    creator: bytes = b"win ",
    geometry: tuple[int, int, int] = (120, 4, 17),
    saved: int = 0,
) -> bytes:
    """A footer with its checksum."""
    data = bytearray(512)
    struct.pack_into(
        ">8sIIQI4sIIQQHBBI", data, 0, b"conectix", 2, version, header_at, 0, creator, 0x10000, 0, size, size, *geometry, type
    )
    data[68:84] = bytes(range(16))
    data[84] = saved
    return _summed(data, 64)


def vhd_fixed(disk: bytes, **fields: object) -> bytes:
    """A fixed disk."""
    shape: dict[str, object] = {"size": len(disk), "type": 2, "header_at": AT_END}
    return disk + vhd_footer(**shape | fields)  # type: ignore[arg-type]


def vhd_dynamic(
    *,
    footer: bytes | None = None,
    blocks: Mapping[int, bytes] | None = None,
    entries: int = 2,
    block: int = 2 * MIB,
    table_at: int = 1536,
    parent: bytes = b"",
    parent_name: str = "",
    locator: bytes = b"",
    trailer: bytes | None = None,
    cookie: bytes = b"cxsparse",
) -> bytes:
    """A dynamic disk of 4 MiB: footer, header, table, blocks, footer."""
    footer = vhd_footer() if footer is None else footer
    header = bytearray(1024)
    struct.pack_into(">8sQQIII", header, 0, cookie, AT_END, table_at, 0x10000, entries, block)
    header[40 : 40 + len(parent)] = parent
    name = parent_name.encode("utf-16-be")
    header[64 : 64 + len(name)] = name
    header[576 : 576 + len(locator)] = locator
    place = 2048
    table, data = [0xFFFFFFFF] * 128, b""
    for number, content in sorted((blocks or {}).items()):
        table[number] = (place + len(data)) // 512
        data += b"\xff" * 512 + content.ljust(block, b"\0")
    return footer + _summed(header, 36) + struct.pack(">128I", *table) + data + (footer if trailer is None else trailer)
