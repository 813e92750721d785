"""Original files for many publications: disks that share most of their MiB with others, raw and as qcow2."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from tests.publishing.shop import MIB, as_qcow2, disk

MEBIBYTES = 20
"""More than one part of an upload."""

_POOL = 12


class Original(Struct, frozen=True):
    """A file to be published, and the SHA-256 of the disk inside."""

    number: int
    path: Path
    sha256: str


class Originals:
    """Makes one after the other, each another disk."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._base = disk(folder, mebibytes=MEBIBYTES, seed=1).read_bytes()
        self._made = 0

    def next(self) -> Original:
        """The base disk with some MiB of its own and some that others have too; every third one as qcow2."""
        self._made += 1
        chance = random.Random(self._made)
        raw = bytearray(self._base)
        for place in chance.sample(range(1, MEBIBYTES), 8):
            block = chance.randrange(_POOL) if chance.random() < 0.7 else 1000 * self._made + place
            raw[place * MIB : (place + 1) * MIB] = random.Random(f"block {block}").randbytes(MIB)
        path = self.folder / f"original-{self._made}.raw"
        path.write_bytes(raw)
        digest = sha256(raw).hexdigest()
        if self._made % 3 == 0:
            packed = as_qcow2(path)
            path.unlink()
            path = packed
        return Original(self._made, path, digest)
