"""Formats and the bytes by which they are known. Names of files decide nothing."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from phimage.formats.reader import Reader


class Format(StrEnum):
    """What a file is. The first six are disk images that phimage takes; the others are recognised to be refused by name."""

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


DISKS = frozenset({Format.RAW, Format.ISO, Format.QCOW2, Format.VMDK, Format.VHD, Format.VHDX})
UNWRAPPED = frozenset({Format.GZIP, Format.XZ, Format.ZSTD, Format.BZIP2})
COMPRESSED = UNWRAPPED | {Format.LZ4, Format.LZIP, Format.COMPRESS}
ARCHIVES = frozenset({Format.TAR, Format.ZIP, Format.SEVEN_ZIP, Format.RAR, Format.WIM})
BODIES = frozenset({Format.HTML, Format.XML, Format.JSON, Format.TEXT, Format.EMPTY})
FOREIGN = frozenset(Format) - DISKS - COMPRESSED - ARCHIVES - BODIES


class Signature(Struct, frozen=True):
    """Bytes at a place. A negative place counts from the end of the file."""

    format: Format
    place: int
    bytes: bytes


ISO_VOLUME = 32768
"""Where the volume descriptors begin: 16 sectors of 2048 bytes are the system area (ECMA-119, 6.2.1)."""

SIGNATURES: tuple[Signature, ...] = (
    Signature(Format.QCOW, 0, b"QFI\xfb\x00\x00\x00\x01"),
    Signature(Format.QCOW2, 0, b"QFI\xfb"),
    Signature(Format.VMDK, 0, b"KDMV"),
    Signature(Format.VMDK, 0, b"COWD"),
    Signature(Format.VMDK, 0, b"\xbe\xba\xfe\xca\x00\x00\x00\x00"),
    Signature(Format.VHDX, 0, b"vhdxfile"),
    Signature(Format.VHD, 0, b"conectix"),
    Signature(Format.VHD, -512, b"conectix"),
    Signature(Format.ISO, ISO_VOLUME + 1, b"CD001"),
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

_HEAD_FIRST = tuple(sorted(SIGNATURES, key=lambda signature: signature.place != 0))

HEAD = 4096
"""How much of a file tells a compressed one or a text."""


def recognise(reader: Reader) -> tuple[Format, ...]:
    """Every format whose signature the file has, that of its first bytes first. Empty: raw, or a text (see `body`)."""
    head = reader.read_at(0, HEAD)
    volume = reader.read_at(ISO_VOLUME, 8)
    tail = reader.read_at(max(0, reader.size - 512), 512) if reader.size >= 1024 else b""
    return _matching(head, volume, tail)


def recognise_head(head: bytes) -> tuple[Format, ...]:
    """The same for the first bytes of a file whose end is not here yet."""
    return _matching(head[:HEAD], head[ISO_VOLUME : ISO_VOLUME + 8], b"")


def compression(head: bytes) -> Format | None:
    """How a file is compressed, told from its first bytes; None when it is not, as far as phimage knows."""
    return next((format for format in _matching(head[:HEAD], b"", b"") if format in COMPRESSED), None)


def _matching(head: bytes, volume: bytes, tail: bytes) -> tuple[Format, ...]:
    found: dict[Format, None] = {}
    for signature in _HEAD_FIRST:
        if signature.place < 0:
            matches = tail.startswith(signature.bytes)
        elif signature.place < len(head):
            matches = head.startswith(signature.bytes, signature.place)
        else:
            matches = volume.startswith(signature.bytes, signature.place - ISO_VOLUME)
        if matches:
            found[signature.format] = None
    if Format.QCOW in found:
        found.pop(Format.QCOW2, None)
    return tuple(found)
