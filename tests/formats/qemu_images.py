"""Images made by qemu-img itself: every format and option that it writes, from one disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.formats import make
from tests.formats.make import KIB, MIB

SIZE = 8 * MIB

GOOD: dict[str, tuple[str, str, str]] = {
    # name: phimage's format, qemu's, options
    "raw": ("raw", "raw", ""),
    "qcow2": ("qcow2", "qcow2", ""),
    "qcow2, version 2": ("qcow2", "qcow2", "compat=0.10"),
    "qcow2, clusters of 512": ("qcow2", "qcow2", "cluster_size=512"),
    "qcow2, clusters of 2M": ("qcow2", "qcow2", "cluster_size=2M"),
    "qcow2, lazy refcounts": ("qcow2", "qcow2", "lazy_refcounts=on"),
    "qcow2, refcounts of a bit": ("qcow2", "qcow2", "refcount_bits=1"),
    "qcow2, refcounts of 64 bits": ("qcow2", "qcow2", "refcount_bits=64,cluster_size=4k"),
    "qcow2, extended L2": ("qcow2", "qcow2", "extended_l2=on,cluster_size=128k"),
    "qcow2, metadata first": ("qcow2", "qcow2", "preallocation=metadata"),
    "qcow2, all first": ("qcow2", "qcow2", "preallocation=full"),
    "qcow2, compressed": ("qcow2", "qcow2 -c", ""),
    "qcow2, compressed with zstd": ("qcow2", "qcow2 -c", "compression_type=zstd"),
    "vmdk": ("vmdk", "vmdk", "subformat=monolithicSparse"),
    "vmdk, zeroed grains": ("vmdk", "vmdk", "subformat=monolithicSparse,zeroed_grain=on"),
    "vmdk, compat 6": ("vmdk", "vmdk", "compat6=on"),
    "vmdk, stream": ("vmdk", "vmdk", "subformat=streamOptimized"),
    "vhd, dynamic": ("vhd", "vpc", "force_size=on"),
    "vhd, fixed": ("vhd", "vpc", "subformat=fixed,force_size=on"),
    "vhdx": ("vhdx", "vhdx", ""),
    "vhdx, fixed": ("vhdx", "vhdx", "subformat=fixed"),
    "vhdx, blocks of 1M": ("vhdx", "vhdx", "block_size=1M,block_state_zero=off"),
}

FOREIGN = ("qed", "vdi", "parallels", "qcow")


def disk() -> bytes:
    """A disk with a partition table, data that compresses, data that does not, and holes."""
    data = make.gpt(SIZE, [(make.ESP, 2048, 4095, "EFI"), (make.LINUX, 4096, 14335, "root")])
    data[MIB : MIB + 300 * KIB] = make.pattern(300 * KIB)
    data[3 * MIB : 3 * MIB + 500 * KIB] = b"phimage " * (500 * KIB // 8)
    data[6 * MIB + 512 : 6 * MIB + 1024] = make.pattern(512)
    return bytes(data)


def run(*arguments: str | Path, folder: Path) -> None:
    """Run qemu-img in a folder."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def convert(name: str, folder: Path) -> Path:
    """One of the good images, from the raw disk `disk.raw` of the folder."""
    _format, target, options = GOOD[name]
    out = folder / f"{name.replace(' ', '-')}.img"
    run("convert", "-f", "raw", "-O", *target.split(), *(["-o", options] if options else []), "disk.raw", out, folder=folder)
    return out


def _with_backing(folder: Path) -> None:
    run("create", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "bad", folder=folder)


def _with_data_file(folder: Path) -> None:
    run("create", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "bad", "8M", folder=folder)


def _encrypted(folder: Path) -> None:
    secret = ["--object", "secret,id=s,data=phimage"]
    options = "encrypt.format=aes,encrypt.key-secret=s"
    run("create", "-f", "qcow2", *secret, "-o", options, "bad", "8M", folder=folder)


def _vmdk_with_parent(folder: Path) -> None:
    run("create", "-f", "vmdk", "base.vmdk", "8M", folder=folder)
    run("create", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "bad", folder=folder)


def _created(format: str, options: str = "", size: str = "8M") -> Callable[[Path], None]:
    def make_it(folder: Path) -> None:
        run("create", "-f", format, *(["-o", options] if options else []), "bad", size, folder=folder)

    return make_it


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    # name: how to make `bad` in a folder with `disk.raw`, the finding
    "qcow2, backing file": (_with_backing, "qcow2.backing-file"),
    "qcow2, data file": (_with_data_file, "qcow2.data-file"),
    "qcow2, encrypted": (_encrypted, "qcow2.encrypted"),
    "qcow2, 3 TiB": (_created("qcow2", size="3T"), "size.limit"),
    "qcow2, 1 EiB": (_created("qcow2", "cluster_size=2M", "1024P"), "size.limit"),
    "vmdk, parent": (_vmdk_with_parent, "vmdk.parent"),
    "vmdk, flat": (_created("vmdk", "subformat=monolithicFlat"), "vmdk.descriptor"),
    "vmdk, split": (_created("vmdk", "subformat=twoGbMaxExtentSparse"), "vmdk.descriptor"),
    "vmdk, split and flat": (_created("vmdk", "subformat=twoGbMaxExtentFlat"), "vmdk.descriptor"),
    "vhdx, 60 TiB": (_created("vhdx", size="60T"), "size.limit"),
    **{format: (_created(format), "format.unsupported") for format in FOREIGN},
}
