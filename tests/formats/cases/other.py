"""Recognised and refused: other formats, compressed files, archives, error pages."""

from __future__ import annotations

from collections.abc import Callable

from phimage.formats.table import Format
from tests.formats.cases.case import FOREIGN, SIZE, Case, case, raw_disk, stricter


def _trailer(mark: bytes) -> Callable[[], bytes]:
    return lambda: bytes(SIZE - 512) + mark.ljust(512, b"\0")


def _header(mark: bytes, place: int = 0) -> Callable[[], bytes]:
    return lambda: (bytes(place) + mark).ljust(SIZE, b"\0")


def _foreign(name: str, format: Format, image: Callable[[], bytes], *, seen: bool = False, luks: bool = False) -> Case:
    why = "oslo.utils takes the format, phimage does not" if luks else FOREIGN
    return case(name, image, format, "format.unsupported", oslo=not seen, why="" if seen else why)


FOREIGNERS = [
    _foreign("dmg", Format.DMG, _trailer(b"koly\0\0\0\4\0\0\2\0")),
    _foreign("dmg around a disk", Format.DMG, lambda: raw_disk()[:-512] + b"koly\0\0\0\4\0\0\2\0".ljust(512, b"\0")),
    _foreign(
        "cloop",
        Format.CLOOP,
        _header(b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"),
    ),
    _foreign("parallels", Format.PARALLELS, _header(b"WithoutFreeSpace\2\0\0\0")),
    _foreign("parallels, extended", Format.PARALLELS, _header(b"WithouFreSpacExt\2\0\0\0")),
    _foreign(
        "bochs", Format.BOCHS, _header(b"Bochs Virtual HD Image".ljust(32, b"\0") + b"Redolog".ljust(16, b"\0") + b"Growing")
    ),
    _foreign("qed", Format.QED, _header(b"QED\0"), seen=True),
    _foreign("vdi", Format.VDI, _header(b"\x7f\x10\xda\xbe", 64), luks=True),
    _foreign("luks 1", Format.LUKS, _header(b"LUKS\xba\xbe\0\1"), luks=True),
    _foreign("luks 2", Format.LUKS, _header(b"LUKS\xba\xbe\0\2"), seen=True),
    _foreign("qcow", Format.QCOW, _header(b"QFI\xfb\0\0\0\1"), seen=True),
    _foreign("cow", Format.COW, _header(b"OOOM\0\0\0\2")),
    _foreign("aff", Format.AFF, _header(b"AFF10\r\n\0")),
    _foreign("ewf", Format.EWF, _header(b"EVF\x09\x0d\x0a\xff\0")),
    _foreign("android sparse", Format.ANDROID_SPARSE, _header(b"\x3a\xff\x26\xed\1\0\0\0")),
    stricter("gz", _header(b"\x1f\x8b\x08\0"), Format.GZIP, "format.compressed"),
    stricter("xz", _header(b"\xfd7zXZ\0"), Format.XZ, "format.compressed"),
    stricter("zst", _header(b"\x28\xb5\x2f\xfd"), Format.ZSTD, "format.compressed"),
    stricter("bz2", _header(b"BZh91AY&SY"), Format.BZIP2, "format.compressed"),
    stricter("lz4", _header(b"\x04\x22\x4d\x18"), Format.LZ4, "format.compressed"),
    stricter(
        "gz with the trailer of a dmg", lambda: b"\x1f\x8b\x08\0" + _trailer(b"koly")()[4:], Format.GZIP, "format.compressed"
    ),
    stricter("tar", _header(b"ustar\x0000", 257), Format.TAR, "format.archive"),
    stricter("zip", _header(b"PK\3\4"), Format.ZIP, "format.archive"),
    stricter("7z", _header(b"7z\xbc\xaf\x27\x1c"), Format.SEVEN_ZIP, "format.archive"),
    stricter("rar", _header(b"Rar!\x1a\7"), Format.RAR, "format.archive"),
    stricter("wim", _header(b"MSWIM\0\0\0"), Format.WIM, "format.archive"),
]

PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"

BODIES = [
    stricter("a web page", lambda: PAGE, Format.HTML, "body.html"),
    stricter("a web page after a comment", lambda: b"\n <!-- proxy -->\n<HTML lang=de>\n", Format.HTML, "body.html"),
    stricter("a long web page", lambda: PAGE * 20000, Format.HTML, "body.html"),
    stricter(
        "an error of a store", lambda: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', Format.XML, "body.xml"
    ),
    stricter("an error as JSON", lambda: b'{"error": "not found"}', Format.JSON, "body.json"),
    stricter("a message", lambda: b"404: Not Found", Format.TEXT, "body.text"),
    stricter("a message in Chinese", lambda: "没有找到文件\n".encode(), Format.TEXT, "body.text"),
    stricter("a checksum file", lambda: b"0" * 64 + b"  debian.qcow2\n", Format.TEXT, "body.text"),
    stricter("a program's source", lambda: b"import os\n" * 1000, Format.TEXT, "body.text"),
    stricter("nothing", lambda: b"", Format.EMPTY, "body.empty"),
    stricter("a byte", lambda: b"\0", Format.RAW, "body.tiny", "disk.unknown"),
]
