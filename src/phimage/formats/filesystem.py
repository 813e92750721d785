"""File systems and containers, recognised by their superblocks. Labels and ids are those that blkid shows."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final
from uuid import UUID

from phimage.formats.reader import ReaderAt
from phimage.model.image_bytes import FilesystemFacts

PAGES: Final = (4096, 8192, 16384, 65536)


def recognise(reader: ReaderAt) -> FilesystemFacts | None:
    """The file system of a reader. Containers are probed before the file systems inside them."""
    return next((filesystem for probe in _PROBES if (filesystem := probe(reader)) is not None), None)


def _text(data: bytes) -> str:
    text = data.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _luks(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(0, 208)
    if not data.startswith(b"LUKS\xba\xbe") or len(data) < 208:
        return None
    label = _text(data[24:72]) if data[7] == 2 else ""
    return FilesystemFacts("crypto_LUKS", label, _text(data[168:208]))


def _lvm(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(0, 4 * 512)
    for sector in range(0, len(data), 512):
        if data.startswith(b"LABELONE", sector) and data.startswith(b"LVM2 001", sector + 24):
            place = sector + struct.unpack_from("<I", data, sector + 20)[0]
            text = data[place : place + 32].decode("ascii", "replace")
            groups = (6, 4, 4, 4, 4, 4, 6)
            starts = [sum(groups[:index]) for index in range(len(groups))]
            parts = [text[start : start + length] for start, length in zip(starts, groups, strict=True)]
            return FilesystemFacts("LVM2_member", uuid="-".join(parts) if text.isalnum() else "")
    return None


def _raid(reader: ReaderAt) -> FilesystemFacts | None:
    for offset in (0, 4096, (reader.size & ~4095) - 8192):
        data = reader.read_at(offset, 64) if offset >= 0 else b""
        if data.startswith(b"\xfc\x4e\x2b\xa9\x01\x00\x00\x00") and len(data) == 64:
            return FilesystemFacts("linux_raid_member", _text(data[32:64]), str(UUID(bytes=data[16:32])))
    return None


def _xfs(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(0, 120)
    if not data.startswith(b"XFSB") or len(data) < 120:
        return None
    return FilesystemFacts("xfs", _text(data[108:120]), str(UUID(bytes=data[32:48])))


def _ext(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(1024, 1024)
    if len(data) < 1024 or data[56:58] != b"\x53\xef":
        return None
    compatible, incompatible, read_only = struct.unpack_from("<III", data, 92)
    if incompatible & 0x8:
        kind = "jbd"
    elif incompatible & ~0x16 or read_only & ~0x7:
        kind = "ext4"
    else:
        kind = "ext3" if compatible & 0x4 else "ext2"
    return FilesystemFacts(kind, _text(data[120:136]), str(UUID(bytes=data[104:120])))


def _btrfs(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(65536, 1024)
    if data[64:72] != b"_BHRfS_M" or len(data) < 1024:
        return None
    return FilesystemFacts("btrfs", _text(data[299:555]), str(UUID(bytes=data[32:48])))


def _fat(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(0, 512)
    if len(data) < 512 or data[510:] != b"\x55\xaa":
        return None
    if data.startswith(b"NTFS    ", 3):
        return FilesystemFacts("ntfs", uuid=data[72:80][::-1].hex().upper())
    if data.startswith(b"EXFAT   ", 3):
        serial = data[100:104][::-1].hex().upper()
        return FilesystemFacts("exfat", uuid=f"{serial[:4]}-{serial[4:]}")
    for signature, place in ((b"FAT32   ", 82), (b"FAT16   ", 54), (b"FAT12   ", 54)):
        if data.startswith(signature, place):
            serial = data[place - 15 : place - 11][::-1].hex().upper()
            label = _text(data[place - 11 : place])
            return FilesystemFacts("vfat", "" if label == "NO NAME" else label, f"{serial[:4]}-{serial[4:]}")
    return None


def _swap(reader: ReaderAt) -> FilesystemFacts | None:
    for page in PAGES:
        if reader.read_at(page - 10, 10) in (b"SWAPSPACE2", b"SWAP-SPACE"):
            data = reader.read_at(1024 + 12, 32)
            return FilesystemFacts("swap", _text(data[16:32]), str(UUID(bytes=data[:16])))
    return None


def _iso(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(32768, 2048)
    if len(data) < 2048 or data[1:6] != b"CD001":
        return None
    created = data[813:829].decode("ascii", "replace")
    date = "-".join([created[:4], *(created[place : place + 2] for place in range(4, 16, 2))])
    return FilesystemFacts("iso9660", _text(data[40:72]), date if created.isdigit() else "")


def _udf(reader: ReaderAt) -> FilesystemFacts | None:
    is_udf = reader.read_at(32769, 5) in (b"BEA01", b"NSR02", b"NSR03")
    return FilesystemFacts("udf") if is_udf else None


def _squashfs(reader: ReaderAt) -> FilesystemFacts | None:
    return FilesystemFacts("squashfs") if reader.read_at(0, 4) == b"hsqs" else None


def _erofs(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(1024, 80)
    if not data.startswith(b"\xe2\xe1\xf5\xe0") or len(data) < 80:
        return None
    return FilesystemFacts("erofs", _text(data[64:80]), str(UUID(bytes=data[48:64])))


def _f2fs(reader: ReaderAt) -> FilesystemFacts | None:
    data = reader.read_at(1024, 1148)
    if not data.startswith(b"\x10\x20\xf5\xf2") or len(data) < 1148:
        return None
    label = data[124:1148].decode("utf-16-le", "replace").split("\0", 1)[0]
    return FilesystemFacts("f2fs", _text(label.encode()), str(UUID(bytes=data[108:124])))


_PROBES: tuple[Callable[[ReaderAt], FilesystemFacts | None], ...] = (
    _luks,
    _lvm,
    _raid,
    _xfs,
    _ext,
    _btrfs,
    _iso,
    _udf,
    _squashfs,
    _erofs,
    _f2fs,
    _fat,
    _swap,
)
