"""qcow2."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from phimage.formats.table import Format
from tests.formats import make
from tests.formats.cases.case import BAIT, SIZE, case, stricter
from tests.formats.make import GIB, KIB, patched


def _qcow2(**fields: object) -> Callable[[], bytes]:
    return partial(make.qcow2, **fields)  # type: ignore[arg-type]


def _truncated_qcow2() -> bytes:
    return make.qcow2(data=make.pattern(256 * KIB))[: -128 * KIB]


QCOW2 = [
    case("qcow2", _qcow2(data=b"phimage" * 1000), Format.QCOW2),
    case("qcow2, version 2", _qcow2(version=2), Format.QCOW2),
    case(
        "qcow2, version 2, with what version 3 calls features",
        lambda: patched(make.qcow2(version=2), (80, b"\xff" * 8)),
        Format.QCOW2,
    ),
    case("qcow2, zstd", _qcow2(features=8, compression=1), Format.QCOW2),
    case("qcow2, clusters of 512", _qcow2(cluster_bits=9, size=32 * KIB), Format.QCOW2, size=32 * KIB),
    case("qcow2, clusters of 2 MiB", _qcow2(cluster_bits=21, size=GIB), Format.QCOW2, size=GIB),
    case("qcow2, dirty", _qcow2(features=1), Format.QCOW2),
    case(
        "qcow2, extended L2 entries",
        _qcow2(features=16),
        Format.QCOW2,
        oslo=False,
        why="oslo.utils does not know the feature, qemu has it since 5.2",
    ),
    case("qcow2, an extension to ignore", _qcow2(extensions=[(0x12345678, b"abc")]), Format.QCOW2),
    case("qcow2, backing file", _qcow2(backing=BAIT), Format.QCOW2, "qcow2.backing-file"),
    case("qcow2, version 2, backing file", _qcow2(version=2, backing=BAIT), Format.QCOW2, "qcow2.backing-file"),
    case("qcow2, version 2, data file", _qcow2(version=2, features=4), Format.QCOW2),
    case(
        "qcow2, a partition table where the header has no field",
        lambda: patched(make.qcow2(), (446, make.mbr((0x80, 0x83, 2048, 4096))[446:])),
        Format.QCOW2,
        oslo=False,
        why="oslo.utils takes it for a disk too; phimage reads it as qcow2 and never as raw",
    ),
    case("qcow2, backing file by vvfat", _qcow2(backing=b"fat:rw:/bait/"), Format.QCOW2, "qcow2.backing-file"),
    case(
        "qcow2, backing file by HTTP",
        _qcow2(backing=b"http://169.254.169.254/latest/meta-data/"),
        Format.QCOW2,
        "qcow2.backing-file",
    ),
    case(
        "qcow2, backing file said to be raw",
        _qcow2(backing=BAIT, extensions=[(0xE2792ACA, b"raw")]),
        Format.QCOW2,
        "qcow2.backing-file",
    ),
    case(
        "qcow2, backing file and data file",
        _qcow2(backing=BAIT, features=4, extensions=[(0x44415441, BAIT)]),
        Format.QCOW2,
        "qcow2.backing-file",
        "qcow2.data-file",
    ),
    case("qcow2, backing file by protocol", _qcow2(backing=b"nbd://127.0.0.1:10809/"), Format.QCOW2, "qcow2.backing-file"),
    case(
        "qcow2, backing file by JSON",
        _qcow2(backing=b'json:{"driver":"file","filename":"/bait/secret"}'),
        Format.QCOW2,
        "qcow2.backing-file",
    ),
    case("qcow2, backing file whose name is absent", _qcow2(backing_offset=1 << 40), Format.QCOW2, "qcow2.backing-file"),
    case("qcow2, data file", _qcow2(features=4, extensions=[(0x44415441, BAIT)]), Format.QCOW2, "qcow2.data-file"),
    case(
        "qcow2, data file by JSON",
        _qcow2(features=4, extensions=[(0x44415441, b'json:{"file.filename":"/bait/secret"}')]),
        Format.QCOW2,
        "qcow2.data-file",
    ),
    case("qcow2, data file without a name", _qcow2(features=4), Format.QCOW2, "qcow2.data-file"),
    stricter(
        "qcow2, name of a data file without the bit", _qcow2(extensions=[(0x44415441, BAIT)]), Format.QCOW2, "qcow2.data-file"
    ),
    case("qcow2, unknown feature, highest bit", _qcow2(features=1 << 63), Format.QCOW2, "qcow2.unknown-feature"),
    case("qcow2, unknown feature, byte of the known", _qcow2(features=1 << 7), Format.QCOW2, "qcow2.unknown-feature"),
    case("qcow2, unknown feature, bit 56", _qcow2(features=1 << 56), Format.QCOW2, "qcow2.unknown-feature"),
    stricter("qcow2, unknown compression", _qcow2(features=8, compression=7), Format.QCOW2, "qcow2.unknown-feature"),
    stricter("qcow2, compression without its bit", _qcow2(compression=1), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, corrupt", _qcow2(features=2), Format.QCOW2, "qcow2.corrupt"),
    stricter("qcow2, AES", _qcow2(encryption=1), Format.QCOW2, "qcow2.encrypted"),
    stricter("qcow2, LUKS", _qcow2(encryption=2, extensions=[(0x0537BE77, bytes(16))]), Format.QCOW2, "qcow2.encrypted"),
    case("qcow2, version 1", lambda: patched(make.qcow2(), (4, b"\0\0\0\1")), Format.QCOW, "format.unsupported"),
    case("qcow2, version 4", lambda: patched(make.qcow2(), (4, b"\0\0\0\4")), Format.QCOW2, "qcow2.version"),
    stricter("qcow2, no size", _qcow2(size=0), Format.QCOW2, "size.zero"),
    stricter(
        "qcow2, 1 EiB",
        _qcow2(size=1 << 60, cluster_bits=21, l1_entries=1 << 21),
        Format.QCOW2,
        "qcow2.truncated",
        "size.limit",
        "size.ratio",
    ),
    stricter("qcow2, 4 TiB", _qcow2(size=1 << 42, cluster_bits=21), Format.QCOW2, "size.limit", "size.ratio"),
    stricter("qcow2, 200 GiB of nothing", _qcow2(size=200 * GIB), Format.QCOW2, "size.ratio"),
    stricter("qcow2, odd size", _qcow2(size=SIZE + 1), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, clusters of 256", lambda: patched(make.qcow2(), (20, b"\0\0\0\x08")), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, clusters of 4 GiB", lambda: patched(make.qcow2(), (20, b"\0\0\0\x20")), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, L1 table too small", _qcow2(size=8 * GIB, l1_entries=1), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, L1 table of 32 GiB", _qcow2(l1_entries=(1 << 32) - 1), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, L1 table outside", _qcow2(l1_offset=1 << 40), Format.QCOW2, "qcow2.truncated"),
    stricter("qcow2, L1 table over the header", _qcow2(l1_offset=0), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, L1 table not at a cluster", _qcow2(l1_offset=3 * 65536 + 512), Format.QCOW2, "qcow2.malformed"),
    stricter(
        "qcow2, L2 table outside",
        lambda: patched(make.qcow2(), (3 * 65536, struct.pack(">Q", 1 << 40))),
        Format.QCOW2,
        "qcow2.truncated",
    ),
    stricter(
        "qcow2, reserved bits in the L1 table",
        lambda: patched(make.qcow2(), (3 * 65536, b"\x20")),
        Format.QCOW2,
        "qcow2.malformed",
    ),
    stricter("qcow2, no refcount table", _qcow2(refcount_clusters=0), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, refcount table of 256 TiB", _qcow2(refcount_clusters=(1 << 32) - 1), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, refcount table outside", _qcow2(refcount_offset=1 << 62), Format.QCOW2, "qcow2.truncated"),
    stricter("qcow2, refcount block outside", lambda: patched(make.qcow2(), (65536, b"\x01")), Format.QCOW2, "qcow2.truncated"),
    stricter("qcow2, refcounts of 128 bits", _qcow2(refcount_order=7), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, header of 2^32 bytes", _qcow2(header_length=(1 << 32) - 8), Format.QCOW2, "qcow2.malformed"),
    stricter("qcow2, header of 8 bytes", lambda: patched(make.qcow2(), (100, b"\0\0\0\x08")), Format.QCOW2, "qcow2.malformed"),
    stricter(
        "qcow2, extension leaves the header",
        lambda: patched(make.qcow2(), (104, b"\x12\x34\x56\x78\xff\xff\xff\xff")),
        Format.QCOW2,
        "qcow2.malformed",
    ),
    stricter(
        "qcow2, extensions without end",
        lambda: patched(make.qcow2(), (104, b"\x12\x34\x56\x78\0\0\0\0" * 8000)),
        Format.QCOW2,
        "qcow2.malformed",
    ),
    stricter("qcow2, snapshots outside", _qcow2(snapshots=3, snapshots_offset=1 << 40), Format.QCOW2, "qcow2.truncated"),
    stricter(
        "qcow2, 4 billion snapshots", _qcow2(snapshots=(1 << 32) - 1, snapshots_offset=65536), Format.QCOW2, "qcow2.malformed"
    ),
    stricter("qcow2, cut off", _truncated_qcow2, Format.QCOW2, "qcow2.truncated"),
    stricter("qcow2, cut off in the header", lambda: make.qcow2()[:600], Format.QCOW2, "qcow2.truncated"),
    case(
        "qcow2, the magic alone",
        lambda: b"QFI\xfb",
        Format.QCOW2,
        "qcow2.truncated",
        oslo=True,
        why="oslo.utils takes it for a raw disk",
    ),
]
