"""Discs and raw disks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from phimage.formats.table import Format
from tests.formats import make
from tests.formats.cases.case import BAIT, DISK, HYBRID, SIZE, case, raw_disk, stricter
from tests.formats.make import KIB, MIB


def _around_iso(head: bytes) -> bytes:
    return make.iso(system_area=head[:32768])


def _hybrid() -> bytes:
    return _around_iso(make.mbr((0x80, 0x83, 0, 2400), (0, 0xEF, 100, 200), code=b"\xeb\x3cisolinux"))


def _hybrid_gpt() -> bytes:
    disk = make.gpt(600 * 2048, [(make.ESP, 100, 299, "EFI")], mixed=[(0x80, 0x17, 0, 2400)])
    return bytes(disk[:32768]) + make.iso()[32768:-32768] + bytes(disk[-32768:])


def _udf() -> bytes:
    """A disc with a UDF file system beside that of ISO 9660, as `mkisofs -udf` writes it."""
    disc = bytearray(make.iso())
    for sector, name in enumerate((b"BEA01", b"NSR02", b"TEA01"), start=18):
        disc[sector * 2048 : (sector + 1) * 2048] = (b"\0" + name + b"\1").ljust(2048, b"\0")
    return bytes(disc)


ISO_SIZE = 600 * 2048

ISO = [
    case("iso", make.iso, Format.ISO, size=ISO_SIZE),
    case("iso, UDF too", _udf, Format.ISO, size=ISO_SIZE),
    case("iso, bootable", partial(make.iso, boot=[0, 0xEF]), Format.ISO, size=ISO_SIZE),
    case("iso, hybrid with an MBR", _hybrid, Format.ISO, oslo=False, why=HYBRID, size=ISO_SIZE),
    case("iso, hybrid with an MBR and a GPT", _hybrid_gpt, Format.ISO, oslo=False, why=HYBRID, size=ISO_SIZE),
    case("iso, a qcow2 in its system area", lambda: _around_iso(make.qcow2(backing=BAIT)), Format.QCOW2, "format.ambiguous"),
    case("iso, a vmdk in its system area", lambda: _around_iso(make.vmdk()), Format.VMDK, "format.ambiguous"),
    case(
        "iso, a luks in its system area",
        lambda: _around_iso(b"LUKS\xba\xbe\0\1"),
        Format.LUKS,
        "format.unsupported",
        "format.ambiguous",
    ),
    stricter("iso, cut off", lambda: make.iso()[: 300 * 2048], Format.ISO, "iso.truncated"),
    stricter("iso, two sizes", partial(make.iso, skewed=True), Format.ISO, "iso.malformed"),
    case(
        "iso, cut off in its descriptors",
        lambda: make.iso()[:33000],
        Format.ISO,
        "iso.truncated",
        oslo=True,
        why="oslo.utils takes it for a raw disk",
    ),
]


def _mbr(*entries: tuple[int, int, int, int], chs: bytes = b"\0\x02\0") -> Callable[[], bytes]:
    return lambda: make.mbr(*entries, chs=chs).ljust(SIZE, b"\0")


def _gpt_without_backup() -> bytes:
    return bytes(DISK[:-512]) + bytes(512)


RAW = [
    case("raw, GPT", raw_disk, Format.RAW),
    case(
        "raw, GPT with sectors of 4096",
        lambda: bytes(make.gpt(SIZE, [(make.LINUX, 256, 511, "root")], sector=4096)),
        Format.RAW,
    ),
    case("raw, MBR", _mbr((0x80, 0x83, 2048, 4096)), Format.RAW),
    case("raw, GPT without its backup", _gpt_without_backup, Format.RAW),
    case(
        "raw, GPT and partitions in the MBR",
        lambda: bytes(make.gpt(SIZE, [(make.LINUX, 2048, 4095, "root")], mixed=[(0, 0x83, 2048, 2048)])),
        Format.RAW,
        oslo=False,
        why=HYBRID,
    ),
    case(
        "raw, GPT with two protective partitions",
        lambda: bytes(make.gpt(SIZE, [(make.LINUX, 2048, 4095, "root")], mixed=[(0, 0xEE, 1, 8191)])),
        Format.RAW,
        oslo=False,
        why="the second says the same as the first",
    ),
    case("raw, MBR whose partition has an odd address", _mbr((0, 0x8E, 2, 4096), chs=b"\0\1\0"), Format.RAW),
    case("raw, an odd boot flag", _mbr((0x0A, 0x83, 2048, 4096)), Format.RAW, "disk.unknown"),
    case("raw, protective MBR with an odd address", _mbr((0, 0xEE, 1, 8191), chs=b"\0\1\0"), Format.RAW, "disk.unknown"),
    case("raw, protective MBR at an odd sector", _mbr((0, 0xEE, 2, 8190)), Format.RAW, "disk.unknown"),
    case("raw, MBR without partitions", _mbr(), Format.RAW, "disk.unknown"),
    stricter("raw, zeros", lambda: bytes(SIZE), Format.RAW, "disk.unknown"),
    stricter("raw, noise", lambda: make.pattern(SIZE), Format.RAW, "disk.unknown"),
    case("raw, ext4 without partitions", lambda: make.ext_superblock().ljust(SIZE, b"\0"), Format.RAW),
    case("raw, not whole sectors", lambda: raw_disk()[:-100], Format.RAW),
    stricter("raw, tiny", lambda: raw_disk()[: 64 * KIB], Format.RAW, "body.tiny", "disk.truncated"),
    stricter("raw, cut off", lambda: raw_disk()[: 3 * MIB // 2], Format.RAW, "disk.truncated"),
]
