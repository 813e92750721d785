"""The disk that is published and downloaded: 4 GiB with 377 MiB of data, the same bytes everywhere, and its files.

It has a partition table, and extents of 256 KiB to 16 MiB as a file system leaves them: two fifths text, two fifths tables of
numbers as programs have them, one fifth that nothing can compress.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

from msgspec import Struct

CACHE = Path(__file__).parent / ".cache"
MIB = 1 << 20
SIZE = 4096 * MIB
DATA = 377 * MIB
CHANGED = 0.05
VERSION = 1
"""Version of the made data: increase it when this module changes what it makes."""
_BLOCK = 4096
_POOL = 8 * MIB
_MBR = struct.pack("<446xB3xB3xII48xH", 0x80, 0x83, 2048, SIZE // 512 - 2048, 0xAA55)


class Disks(Struct, frozen=True):
    """The files. `changed` is the raw disk after changes in a twentieth of its data."""

    raw: Path
    changed: Path
    qcow2: Path
    zst: Path


def disks() -> Disks:
    """The disk in every form. Made once, which takes a minute."""
    CACHE.mkdir(exist_ok=True)
    names = ("raw", "changed.raw", "qcow2", "raw.zst")
    raw, changed, qcow2, zst = (CACHE / f"disk-{VERSION}.{name}" for name in names)
    if not changed.exists():
        _write(raw, Random(15), extents())
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
        subprocess.run(["zstd", "-q", "-f", "-3", raw, "-o", zst], check=True)
        draft = changed.with_suffix(".draft")
        subprocess.run(["cp", "--sparse=always", raw, draft], check=True)
        _write(draft, Random(16), changes())
        draft.rename(changed)
    return Disks(raw, changed, qcow2, zst)


def extents() -> Iterator[tuple[int, int]]:
    """Start and length of each extent, in order, `DATA` bytes in all."""
    random = Random(14)
    start, left = MIB, DATA
    while left:
        length = min(left, random.randrange(64, 4096) * _BLOCK)
        yield start, length
        left -= length
        free = SIZE - MIB - start - length - left
        start += length + random.randrange(2 * free * length // (left + length) // _BLOCK or 1) * _BLOCK


def changes() -> Iterator[tuple[int, int]]:
    """What differs in the changed disk: pieces of a chunk each, a twentieth of the data."""
    wanted = round(CHANGED * DATA) // MIB
    whole = [at for start, length in extents() for at in range(-(-start // MIB) * MIB, start + length - MIB + 1, MIB)]
    return ((at, MIB) for at in sorted(Random(17).sample(whole, wanted)))


def _write(file: Path, random: Random, places: Iterator[tuple[int, int]]) -> None:
    words = [random.randbytes(random.randrange(2, 7)).hex().encode() for _ in range(4000)]
    text = b" ".join(random.choices(words, k=_POOL // 9))
    numbers = struct.pack(
        f"<{_POOL // 8}q", *(random.randrange(1 << random.choice((8, 16, 24, 40))) for _ in range(_POOL // 8))
    )
    with file.open("r+b" if file.exists() else "w+b") as disk:
        disk.truncate(SIZE)
        disk.write(_MBR)
        for start, length in places:
            disk.seek(start)
            while length:
                size = min(length, random.randrange(1, 256) * _BLOCK)
                pool = random.choice((text, text, numbers, numbers, b""))
                at = random.randrange(len(pool) - size) if pool else 0
                disk.write(pool[at : at + size] if pool else random.randbytes(size))
                length -= size
