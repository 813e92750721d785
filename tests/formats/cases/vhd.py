"""VHD and VHDX."""

from __future__ import annotations

import struct
from collections.abc import Callable
from uuid import UUID

from phimage.formats.table import Format
from tests.formats import make
from tests.formats.cases.case import SIZE, case, raw_disk, stricter
from tests.formats.make import KIB, MIB, patched


def _vhd(**fields: object) -> Callable[[], bytes]:
    return lambda: make.vhd_dynamic(footer=make.vhd_footer(**fields))  # type: ignore[arg-type]


VHD = [
    case("vhd, dynamic", lambda: make.vhd_dynamic(blocks={1: b"abc"}), Format.VHD),
    case("vhd, fixed", lambda: make.vhd_fixed(raw_disk()), Format.VHD),
    case("vhd, saved state", _vhd(saved=1), Format.VHD),
    case("vhd, written by a program that counts cylinders", _vhd(creator=b"vpc "), Format.VHD),
    stricter("vhd, differencing", _vhd(type=4), Format.VHD, "vhd.differencing"),
    stricter(
        "vhd, dynamic with a parent", lambda: make.vhd_dynamic(parent_name="/bait/secret"), Format.VHD, "vhd.differencing"
    ),
    stricter("vhd, dynamic with a parent locator", lambda: make.vhd_dynamic(locator=b"W2ru"), Format.VHD, "vhd.differencing"),
    stricter("vhd, fixed with its footer in front", _vhd(type=2), Format.VHD, "vhd.malformed"),
    stricter("vhd, wrong checksum", lambda: patched(make.vhd_dynamic(), (40, b"\1")), Format.VHD, "vhd.malformed"),
    stricter("vhd, no dynamic header", lambda: make.vhd_dynamic(cookie=b"cxparse!"), Format.VHD, "vhd.malformed"),
    stricter("vhd, header outside", _vhd(header_at=1 << 62), Format.VHD, "vhd.truncated"),
    stricter("vhd, blocks of 3 bytes", lambda: make.vhd_dynamic(block=3), Format.VHD, "vhd.malformed"),
    stricter("vhd, too few blocks", lambda: make.vhd_dynamic(entries=1), Format.VHD, "vhd.malformed"),
    stricter("vhd, table of 16 GiB", lambda: make.vhd_dynamic(entries=(1 << 32) - 1), Format.VHD, "vhd.malformed"),
    stricter("vhd, table outside", lambda: make.vhd_dynamic(table_at=1 << 60), Format.VHD, "vhd.truncated"),
    stricter("vhd, block outside", lambda: patched(make.vhd_dynamic(), (1536, b"\0\1\0\0")), Format.VHD, "vhd.truncated"),
    stricter("vhd, no size", _vhd(size=0), Format.VHD, "size.zero"),
    stricter("vhd, 8 TiB", _vhd(size=8 << 40), Format.VHD, "vhd.malformed", "size.limit", "size.ratio"),
    stricter("vhd, cut off", lambda: make.vhd_dynamic(blocks={0: b"abc"})[:-1024], Format.VHD, "vhd.truncated"),
    stricter(
        "vhd, two footers that differ",
        lambda: make.vhd_dynamic(trailer=make.vhd_footer(size=2 * MIB)),
        Format.VHD,
        "vhd.truncated",
    ),
    stricter(
        "vhd, fixed, larger than its file", lambda: make.vhd_fixed(raw_disk(), size=2 * SIZE), Format.VHD, "vhd.truncated"
    ),
    stricter("vhd, fixed with a header", lambda: make.vhd_fixed(raw_disk(), header_at=512), Format.VHD, "vhd.malformed"),
    stricter("vhd, fixed, around a qcow2", lambda: make.vhd_fixed(make.qcow2()), Format.QCOW2, "format.ambiguous"),
]


def _vhdx(**fields: object) -> Callable[[], bytes]:
    return lambda: make.vhdx(**fields)  # type: ignore[arg-type]


UNKNOWN = UUID("99999999-8888-7777-6666-555555555555")

VHDX = [
    case("vhdx", _vhdx(bat=[0, 0, 4 * MIB | 6]), Format.VHDX),
    case("vhdx, fixed", _vhdx(flags=1), Format.VHDX),
    stricter("vhdx, sectors of 4096", _vhdx(sector=4096), Format.VHDX, "vhdx.unknown"),
    case("vhdx, a region to ignore", _vhdx(regions=[(UNKNOWN, 8 * MIB, MIB, 0)]), Format.VHDX),
    stricter("vhdx, parent by flag", _vhdx(flags=2), Format.VHDX, "vhdx.parent"),
    stricter("vhdx, parent locator", _vhdx(items=[(make.PARENT_LOCATOR, b"parent", 4)]), Format.VHDX, "vhdx.parent"),
    stricter("vhdx, log not empty", _vhdx(log=b"\1" * 16), Format.VHDX, "vhdx.log"),
    stricter("vhdx, unknown region", _vhdx(regions=[(UNKNOWN, 4 * MIB, MIB, 1)]), Format.VHDX, "vhdx.unknown"),
    stricter("vhdx, unknown item", _vhdx(items=[(UNKNOWN, b"x", 4)]), Format.VHDX, "vhdx.unknown"),
    stricter("vhdx, version 2", _vhdx(version=2), Format.VHDX, "vhdx.malformed"),
    stricter(
        "vhdx, no headers", lambda: patched(make.vhdx(), (64 * KIB, b"\0"), (128 * KIB, b"\0")), Format.VHDX, "vhdx.malformed"
    ),
    stricter(
        "vhdx, damaged region table", lambda: patched(make.vhdx(), (192 * KIB + 40, b"\1")), Format.VHDX, "vhdx.malformed"
    ),
    stricter(
        "vhdx, damaged copy of the region table",
        lambda: patched(make.vhdx(), (256 * KIB + 40, b"\1")),
        Format.VHDX,
        "vhdx.malformed",
    ),
    stricter("vhdx, no block table", _vhdx(without=[make.BAT]), Format.VHDX, "vhdx.malformed"),
    stricter("vhdx, no size item", _vhdx(without=[make.VIRTUAL_SIZE]), Format.VHDX, "vhdx.malformed"),
    stricter("vhdx, size item of 4 GiB", _vhdx(size_length=(1 << 32) - 1), Format.VHDX, "vhdx.malformed"),
    stricter("vhdx, region twice", _vhdx(regions=[(make.BAT, 3 * MIB, MIB, 1)]), Format.VHDX, "vhdx.malformed"),
    case(
        "vhdx, metadata outside",
        _vhdx(without=[make.METADATA], regions=[(make.METADATA, 1 << 50, MIB, 1)]),
        Format.VHDX,
        "vhdx.truncated",
    ),
    stricter("vhdx, blocks of 3 bytes", _vhdx(block=3), Format.VHDX, "vhdx.malformed"),
    stricter("vhdx, sectors of no size", _vhdx(sector=0), Format.VHDX, "vhdx.malformed"),
    stricter("vhdx, 1 EiB", _vhdx(size=1 << 60), Format.VHDX, "vhdx.malformed", "size.limit", "size.ratio"),
    stricter(
        "vhdx, block outside",
        lambda: patched(make.vhdx(), (3 * MIB, struct.pack("<Q", 1 << 40 | 6))),
        Format.VHDX,
        "vhdx.truncated",
    ),
    stricter("vhdx, block partially present", _vhdx(bat=[4 * MIB | 7]), Format.VHDX, "vhdx.malformed"),
    case("vhdx, cut off", lambda: make.vhdx()[: 1 << 17], Format.VHDX, "vhdx.truncated"),
]
