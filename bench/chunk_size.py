"""`python -m bench.chunk_size BASE OTHER...`: the cost of chunk sizes, on real raw disks.

For each size: what the base takes in a memory store, and what each other disk adds to those before it. How the disks of
docs/store-format.md were made, as root on Debian 12:

    mmdebstrap --variant=minbase --include=systemd-sysv,openssh-server,ca-certificates,curl,vim-tiny,iproute2,\\
        linux-image-cloud-amd64 bookworm base.tar
    mkdir root mnt; tar -C root -xf base.tar
    truncate -s 4G base.raw again.raw rebuilt.raw
    mke2fs -q -t ext4 -d root base.raw; mke2fs -q -t ext4 -d root again.raw         # again: the same tree, built twice
    cp --sparse=always base.raw captured.raw; mount -o loop captured.raw mnt
    chroot mnt apt-get install -y --no-install-recommends nginx-light postgresql-client htop python3-minimal
    for i in $(seq 200); do head -c 20000 /dev/urandom | base64 >mnt/var/log/app$i.log; done
    umount mnt; mount -o loop,ro captured.raw mnt                                   # captured: a host that was used
    mke2fs -q -t ext4 -d mnt rebuilt.raw                                            # rebuilt: its tree, built anew
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from phimage.chunks.layout import ManifestDigest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.write import DiskWriter, Written, write_file

SIZES = [256 << 10, 512 << 10, 1 << 20, 4 << 20]
MIB = 1 << 20


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.chunk_size", description=__doc__.partition("\n\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("others", type=Path, nargs="*")
    arguments = parser.parse_args()
    others: list[Path] = arguments.others
    names = "".join(f" {other.stem}: new data | stored |" for other in others)
    print(f"| chunk | base stored | chunks | manifest | write, read |{names}")
    print("|---:|---:|---:|---:|---:|" + "---:|---:|" * len(others))
    for size in SIZES:
        print(_row(size, arguments.base, others))


def _row(chunk_size: int, base: Path, others: list[Path]) -> str:
    store = MemoryStore()
    begun = time.perf_counter()
    written = _write(store, base, chunk_size)
    wrote = time.perf_counter()
    _read(store, written.digest)
    read = time.perf_counter()
    data = _data(written)
    manifest = sum(stored.size for stored in store.list("manifests"))
    cells = [
        f"{chunk_size >> 10} KiB",
        f"{written.new_bytes / MIB:.0f} MiB",
        f"{written.new_chunks:,}",
        f"{manifest / 1024:.0f} KiB",
        f"{data / MIB / (wrote - begun):.0f}, {data / MIB / (read - wrote):.0f} MiB/s",
    ]
    for other in others:
        added = _write(store, other, chunk_size)
        cells += [f"{added.new_chunks * chunk_size / _data(added):.0%}", f"+{added.new_bytes / MIB:.0f} MiB"]
    return "| " + " | ".join(cells) + " |"


def _write(store: MemoryStore, disk: Path, chunk_size: int) -> Written:
    with DiskWriter(store, disk.stat().st_size, chunk_size=chunk_size) as writer:
        write_file(writer, disk)
        return writer.finish({})


def _read(store: MemoryStore, digest: ManifestDigest) -> None:
    for _ in open_disk(store, digest).chunks():
        pass


def _data(written: Written) -> int:
    return sum(written.manifest.length(index) for index, _ in written.manifest.stored())


if __name__ == "__main__":
    main()
