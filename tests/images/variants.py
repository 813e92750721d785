"""The same disk in every format that phimage accepts: `variant("qcow2", debian_disk())`."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.formats.make import MIB
from tests.images.kept import kept, run

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Packer(Protocol):
    """What Python's compressors have in common."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


QEMU: dict[str, tuple[str, ...]] = {
    # name: qemu-img's format and options
    "qcow2": ("qcow2",),
    "qcow2, compressed": ("qcow2", "-c"),
    "qcow2, zstd": ("qcow2", "-c", "-o", "compression_type=zstd"),
    "vmdk": ("vmdk", "-o", "subformat=monolithicSparse"),
    "vmdk, stream": ("vmdk", "-o", "subformat=streamOptimized"),
    "vhd": ("vpc", "-o", "subformat=dynamic,force_size=on"),
    "vhdx": ("vhdx", "-o", "subformat=dynamic"),
}
PACKERS: dict[str, Callable[[], Packer]] = {
    "zst": lambda: zstd.ZstdCompressor(level=3),
    "gz": lambda: zlib.compressobj(1, wbits=31),
    "xz": lambda: lzma.LZMACompressor(preset=0),
    "bz2": lambda: bz2.BZ2Compressor(1),
}
VARIANTS = ("raw", *QEMU, *PACKERS)


def variant(name: str, disk: Path) -> Path:
    """A kept raw disk in one of `VARIANTS`, kept too. Of a Debian disk most take a second, old compressions up to thirty."""
    if name == "raw":
        return disk
    title = f"{disk.stem.partition('-')[2]}.{name.replace(', ', '-')}"
    return kept(title, f"{disk.name} {QEMU.get(name)}", lambda _folder, path: _make(name, disk, path))


def qemu_format(name: str) -> str:
    """qemu-img's name of the format of a variant, after decompression."""
    return QEMU[name][0] if name in QEMU else "raw"


def _make(name: str, disk: Path, path: Path) -> None:
    if name in QEMU:
        format, *options = QEMU[name]
        run("qemu-img", "convert", "-f", "raw", "-O", format, *options, disk, path)
        return
    packer = PACKERS[name]()
    with disk.open("rb") as source, path.open("wb") as target:
        while piece := source.read(MIB):
            target.write(packer.compress(piece))
        target.write(packer.flush())
