"""Reads single files of ext2, ext3 and ext4 without mounting: enough for /etc/os-release and the names in a folder.

The layout follows the kernel's Documentation/filesystems/ext4. Nothing is written, no journal is replayed, and every loop is
bounded, so that a malicious file system costs no more than a good one. Unsupported: encryption, compression, most inline data,
meta block groups.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from phimage.formats.errors import Malformed
from phimage.formats.reader import ReaderAt, exactly

FILETYPE, RECOVER, EXTENTS, WIDE, MMP, FLEX, SEED, LARGE_FOLDER, INLINE = (
    0x2, 0x4, 0x40, 0x80, 0x100, 0x200, 0x2000, 0x4000, 0x8000,
)  # fmt: skip
READABLE: Final = FILETYPE | RECOVER | EXTENTS | WIDE | MMP | FLEX | SEED | LARGE_FOLDER | INLINE | 0x400 | 0x10000 | 0x20000
WITH_EXTENTS, WITH_DATA_INSIDE, ENCRYPTED = 0x80000, 0x10000000, 0x800

ROOT: Final = 2
MAX_LINKS: Final = 16
MAX_STEPS: Final = 64
MAX_DEPTH: Final = 5
MAX_FOLDER: Final = 4 << 20


class Inode(Struct, frozen=True):
    """A file, folder or link: its mode, size, flags and the 60-byte map of its data."""

    mode: int
    size: int
    flags: int
    map: bytes


class Ext4:
    """A file system. The constructor raises Malformed for an unsupported one; every method raises it on damage."""

    def __init__(self, reader: ReaderAt) -> None:
        block = exactly(reader, 1024, 1024, "superblock")
        if block[56:58] != b"\x53\xef":
            raise Malformed("no ext file system")
        first, scale = struct.unpack_from("<II", block, 20)
        per_group, inode_size, incompatible = (
            struct.unpack_from(f, block, o)[0] for f, o in (("<I", 40), ("<H", 88), ("<I", 96))
        )
        (descriptor,) = struct.unpack_from("<H", block, 254)
        if scale > 6 or not per_group or incompatible & ~READABLE:
            raise Malformed(f"an ext file system with features {incompatible:#x}")
        self._reader = reader
        self._block: int = 1024 << scale
        self._descriptors = (first + 1) * self._block
        self._descriptor = descriptor if incompatible & WIDE else 32
        self._per_group = per_group
        self._inode_size = inode_size if struct.unpack_from("<I", block, 76)[0] else 128
        self._inodes = struct.unpack_from("<I", block, 0)[0]
        if not 32 <= self._descriptor <= 1024 or not 128 <= self._inode_size <= self._block:
            raise Malformed("group descriptors or inodes of an impossible size")

    def read_file(self, path: str, max_size: int) -> bytes | None:
        """The first `max_size` bytes of a file, None when there is no such file. Follows links within the file system."""
        inode = self._find(path)
        if inode is None or not stat.S_ISREG(inode.mode) or inode.flags & ENCRYPTED:
            return None
        return self._content(inode, min(inode.size, max_size))

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a folder, without `.` and `..`; none when there is no such folder."""
        inode = self._find(path)
        if inode is None or not stat.S_ISDIR(inode.mode):
            return ()
        entries = (name.decode("utf-8", "replace") for _number, name in self._entries(inode) if name not in (b".", b".."))
        return tuple(sorted(entries))

    def _find(self, path: str) -> Inode | None:
        trail = [self._inode(ROOT)]
        steps = path.encode().split(b"/")[::-1]
        links = 0
        for _ in range(MAX_STEPS):
            if not steps:
                return trail[-1]
            step = steps.pop()
            if step == b"..":
                trail = trail[:-1] or trail
            if step in (b"", b".", b".."):
                continue
            if not stat.S_ISDIR(trail[-1].mode):
                return None
            number = next((number for number, name in self._entries(trail[-1]) if name == step), None)
            if number is None:
                return None
            inode = self._inode(number)
            if not stat.S_ISLNK(inode.mode):
                trail.append(inode)
                continue
            links += 1
            target = self._target(inode)
            if links > MAX_LINKS or not target:
                return None
            if target.startswith(b"/"):
                trail = trail[:1]
            steps += target.split(b"/")[::-1]
        return None

    def _target(self, inode: Inode) -> bytes:
        if inode.size < 60 and not inode.flags & WITH_EXTENTS:
            return inode.map[: inode.size]
        return self._content(inode, min(inode.size, 4096))

    def _inode(self, number: int) -> Inode:
        if not 0 < number <= self._inodes:
            raise Malformed(f"inode {number}")
        group, index = divmod(number - 1, self._per_group)
        descriptor = exactly(self._reader, self._descriptors + group * self._descriptor, self._descriptor, "group")
        (table,) = struct.unpack_from("<I", descriptor, 8)
        if self._descriptor >= 64:
            table |= struct.unpack_from("<I", descriptor, 40)[0] << 32
        data = exactly(self._reader, table * self._block + index * self._inode_size, 128, "inode")
        mode, low = struct.unpack_from("<H2xI", data)
        (flags,) = struct.unpack_from("<I", data, 32)
        high = struct.unpack_from("<I", data, 108)[0] if stat.S_ISREG(mode) else 0
        return Inode(mode, high << 32 | low, flags, data[40:100])

    def _entries(self, folder: Inode) -> Iterator[tuple[int, bytes]]:
        """Read linearly, even with a hash tree: its inner blocks look like empty ones."""
        if folder.flags & ENCRYPTED:
            return
        data = self._content(folder, min(folder.size, MAX_FOLDER))
        if folder.flags & WITH_DATA_INSIDE:
            data = data[4:]
        offset = 0
        while offset + 8 <= len(data):
            number, step, length = struct.unpack_from("<IHB", data, offset)
            if step < 8 or step % 4:
                return
            if number and length and 8 + length <= step:
                yield number, data[offset + 8 : offset + 8 + length]
            offset += step

    def _content(self, inode: Inode, size: int) -> bytes:
        if inode.flags & WITH_DATA_INSIDE:
            if size > len(inode.map):
                raise Malformed("inline data that continues elsewhere")
            return inode.map[:size]
        count = -(-size // self._block)
        places = self._by_extents(inode.map, count) if inode.flags & WITH_EXTENTS else self._by_blocks(inode.map, count)
        data = bytearray(count * self._block)
        for logical, physical, length in places:
            part = exactly(self._reader, physical * self._block, length * self._block, "data")
            data[logical * self._block : (logical + length) * self._block] = part
        return bytes(data[:size])

    def _by_extents(self, root: bytes, count: int) -> Iterator[tuple[int, int, int]]:
        """The runs of the first `count` blocks: place in the file, place on the disk, length. Holes are left out."""
        nodes = [(root, MAX_DEPTH)]
        visited = 0
        while nodes and visited <= MAX_STEPS + count:
            visited += 1
            node, depth = nodes.pop()
            magic, entries, _max_entries, level = struct.unpack_from("<HHHH", node)
            if magic != 0xF30A or level > depth or 12 + 12 * entries > len(node):
                raise Malformed("a damaged extent tree")
            for offset in range(12, 12 + 12 * entries, 12):
                logical, length, high, low = struct.unpack_from("<IHHI", node, offset)
                if level:
                    child, child_high = struct.unpack_from("<IH", node, offset + 4)
                    if logical < count:
                        place = (child_high << 32 | child) * self._block
                        nodes.append((exactly(self._reader, place, self._block, "extents"), level - 1))
                elif logical < count and 0 < length <= 32768:  # longer ones are reserved and read as zeros
                    yield logical, high << 32 | low, min(length, count - logical)

    def _by_blocks(self, map: bytes, count: int) -> Iterator[tuple[int, int, int]]:
        """Like `_by_extents`, for files without extents: 12 direct blocks, then single and double indirection."""
        pointers = struct.unpack("<15I", map)
        places = list(pointers[:12])
        if count > 12:
            places += self._pointers(pointers[12])
        if count > len(places) and pointers[13]:
            for pointer in self._pointers(pointers[13])[: 1 + (count - len(places)) * 4 // self._block]:
                places += self._pointers(pointer)
        for logical, physical in enumerate(places[:count]):
            if physical:
                yield logical, physical, 1

    def _pointers(self, block: int) -> tuple[int, ...]:
        number = self._block // 4
        if not block:
            return (0,) * number
        pointers: tuple[int, ...] = struct.unpack(f"<{number}I", exactly(self._reader, block * self._block, self._block, "map"))
        return pointers
