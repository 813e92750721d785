"""Small real disks with the same bytes each time: mostly empty, so that a kept installation stays small."""

from __future__ import annotations

import random
from pathlib import Path

from tests.formats.real_disk import mke2fs, put, root_folder, sfdisk

KIB, MIB = 1 << 10, 1 << 20

_GPT = """\
label: gpt
label-id: 11111111-2222-3333-4444-555555555555
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=11111111-2222-3333-4444-666666666666
start=4096, size=16384, type=L, name=root, uuid=11111111-2222-3333-4444-777777777777
"""
_EXT4 = ("-t", "ext4", "-U", "11111111-2222-3333-4444-888888888888", "-O", "^has_journal")
_MBR = "label: dos\nlabel-id: 0xdeadbeef\nstart=2048, size={sectors}, type=83, bootable\n"


def linux_disk(folder: Path) -> Path:
    """A GPT with an ext4 root file system that names its distribution and kernels."""
    path = folder / "linux.raw"
    root = mke2fs(folder / "root.ext4", *_EXT4, folder=root_folder(folder / "root"))
    sfdisk(path, _GPT, 12 * MIB)
    put(path, 2 * MIB, root)
    return path


def plain_disk(folder: Path, seed: int) -> Path:
    """An MBR and a few seeded bytes; two MiB of them are the same for every seed."""
    path = folder / f"plain-{seed}.raw"
    sfdisk(path, _MBR.format(sectors=6 * 2048), 8 * MIB)
    own, shared = random.Random(seed), random.Random(0)
    put(path, 1 * MIB, own.randbytes(6 * KIB))
    put(path, 3 * MIB, shared.randbytes(4 * KIB))
    put(path, 5 * MIB + 512, shared.randbytes(2 * KIB))
    return path


def cut_disk(folder: Path) -> Path:
    """A disk whose partition ends behind its end: a finding that an operator may override."""
    path = plain_disk(folder, seed=3)
    with path.open("r+b") as file:
        file.truncate(6 * MIB + 512)
    return path
