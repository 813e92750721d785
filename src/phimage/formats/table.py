"""The table of formats: disk images that phimage accepts, with all that differs between them, and formats that it refuses.

A new disk image format is a module with its inspector and its kinds of findings, and a member and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from phimage.formats import disk, hygiene, iso, qcow2, vhd, vhdx, vmdk
from phimage.formats.finding import FindingKind, InspectionReport
from phimage.formats.kinds import GENERAL_KINDS
from phimage.formats.limits import DiskLimits
from phimage.formats.reader import ReaderAt


# docs/decisions.md#one-table-of-formats
class Format(StrEnum):
    """The format of a file. The first six are the disk images that phimage accepts; the others are refused by name."""

    RAW = "raw"
    ISO = "iso"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHD = "vhd"
    VHDX = "vhdx"

    QCOW = "qcow"
    COW = "cow"
    QED = "qed"
    VDI = "vdi"
    DMG = "dmg"
    CLOOP = "cloop"
    PARALLELS = "parallels"
    BOCHS = "bochs"
    LUKS = "luks"
    AFF = "aff"
    EWF = "ewf"
    ANDROID_SPARSE = "android-sparse"

    GZIP = "gz"
    XZ = "xz"
    ZSTD = "zst"
    BZIP2 = "bz2"
    LZ4 = "lz4"
    LZIP = "lz"
    COMPRESS = "Z"

    TAR = "tar"
    ZIP = "zip"
    SEVEN_ZIP = "7z"
    RAR = "rar"
    WIM = "wim"

    HTML = "html"
    XML = "xml"
    JSON = "json"
    TEXT = "text"
    EMPTY = "empty"


class Signature(Struct, frozen=True):
    """Bytes at an offset of a file. A negative offset counts from its end."""

    format: Format
    offset: int
    bytes: bytes


Inspector = Callable[[ReaderAt, InspectionReport, DiskLimits], None]
"""Reports the virtual size, details and findings of a file of its format. Raises FormatError."""


class DiskFormat(Struct, frozen=True):
    """A disk image format that phimage accepts. `driver` and `options` are qemu's; `aliases` are other names of the format."""

    format: Format
    inspect: Inspector
    driver: str
    signatures: tuple[tuple[int, bytes], ...] = ()
    options: str = ""
    aliases: tuple[str, ...] = ()
    kinds: tuple[FindingKind, ...] = ()


DISK_FORMATS: Final[Mapping[Format, DiskFormat]] = {
    row.format: row
    for row in (
        DiskFormat(Format.RAW, disk.inspect_raw, "raw", aliases=("img",)),
        DiskFormat(Format.QCOW2, qcow2.inspect, "qcow2", ((0, b"QFI\xfb"),), kinds=qcow2.KINDS),
        DiskFormat(
            Format.VMDK,
            vmdk.inspect,
            "vmdk",
            ((0, b"KDMV"), (0, b"COWD"), (0, b"\xbe\xba\xfe\xca\x00\x00\x00\x00")),
            kinds=vmdk.KINDS,
        ),
        DiskFormat(Format.VHDX, vhdx.inspect, "vhdx", ((0, b"vhdxfile"),), kinds=vhdx.KINDS),
        DiskFormat(
            Format.VHD,
            vhd.inspect,
            "vpc",
            ((0, b"conectix"), (-512, b"conectix")),
            options=",force_size_calc=current_size",  # the size that the specification calls current, whatever program wrote it
            aliases=("vpc",),
            kinds=vhd.KINDS,
        ),
        DiskFormat(Format.ISO, iso.inspect, "raw", ((iso.VOLUME + 1, b"CD001"),), kinds=iso.KINDS),
    )
}

STATED_NAMES: Final[Mapping[str, Format]] = {
    name: row.format for row in DISK_FORMATS.values() for name in (row.format.value, *row.aliases)
}
"""The formats by the names under which a caller may state them."""

KINDS: Final[Mapping[str, FindingKind]] = {
    kind.id: kind for kinds in (GENERAL_KINDS, hygiene.KINDS, *(row.kinds for row in DISK_FORMATS.values())) for kind in kinds
}
"""Every kind of finding by its id."""

COMPRESSED: Final = frozenset({Format.GZIP, Format.XZ, Format.ZSTD, Format.BZIP2, Format.LZ4, Format.LZIP, Format.COMPRESS})
ARCHIVES: Final = frozenset({Format.TAR, Format.ZIP, Format.SEVEN_ZIP, Format.RAR, Format.WIM})

SIGNATURES: Final[tuple[Signature, ...]] = (
    *(Signature(row.format, offset, magic) for row in DISK_FORMATS.values() for offset, magic in row.signatures),
    Signature(Format.QCOW, 0, b"QFI\xfb\x00\x00\x00\x01"),
    Signature(Format.COW, 0, b"OOOM"),
    Signature(Format.COW, 0, b"MOOO"),
    Signature(Format.QED, 0, b"QED\x00"),
    Signature(Format.VDI, 64, b"\x7f\x10\xda\xbe"),
    Signature(Format.DMG, -512, b"koly"),
    Signature(Format.CLOOP, 0, b"#!/bin/sh\n#V2.0 Format\n"),
    Signature(Format.CLOOP, 0, b"#!/bin/sh\n#V1.0 Format\n"),
    Signature(Format.PARALLELS, 0, b"WithoutFreeSpace"),
    Signature(Format.PARALLELS, 0, b"WithouFreSpacExt"),
    Signature(Format.BOCHS, 0, b"Bochs Virtual HD Image"),
    Signature(Format.LUKS, 0, b"LUKS\xba\xbe"),
    Signature(Format.LUKS, 0, b"SKUL\xba\xbe"),
    Signature(Format.AFF, 0, b"AFF10\r\n\x00"),
    Signature(Format.AFF, 0, b"AFM\x00"),
    Signature(Format.EWF, 0, b"EVF\x09\x0d\x0a\xff\x00"),
    Signature(Format.EWF, 0, b"EVF2\x0d\x0a\x81\x00"),
    Signature(Format.ANDROID_SPARSE, 0, b"\x3a\xff\x26\xed"),
    Signature(Format.GZIP, 0, b"\x1f\x8b\x08"),
    Signature(Format.XZ, 0, b"\xfd7zXZ\x00"),
    Signature(Format.ZSTD, 0, b"\x28\xb5\x2f\xfd"),
    *(Signature(Format.ZSTD, 0, bytes([0x50 + n, 0x2A, 0x4D, 0x18])) for n in range(16)),  # skippable frame, RFC 8878 3.1.2
    *(Signature(Format.BZIP2, 0, b"BZh%d" % level + magic) for level in range(1, 10) for magic in (b"1AY&SY", b"\x17rE8P\x90")),
    Signature(Format.LZ4, 0, b"\x04\x22\x4d\x18"),
    Signature(Format.LZIP, 0, b"LZIP\x01"),
    Signature(Format.COMPRESS, 0, b"\x1f\x9d\x90"),
    Signature(Format.TAR, 257, b"ustar"),
    Signature(Format.ZIP, 0, b"PK\x03\x04"),
    Signature(Format.ZIP, 0, b"PK\x05\x06"),
    Signature(Format.SEVEN_ZIP, 0, b"7z\xbc\xaf\x27\x1c"),
    Signature(Format.RAR, 0, b"Rar!\x1a\x07"),
    Signature(Format.WIM, 0, b"MSWIM\x00\x00\x00"),
)
