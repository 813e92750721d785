"""The qcow2 form, judged by qemu-img."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from phimage.chunks.frame import pack
from phimage.chunks.layout import ChunkDigest, DiskDigest, chunk_name
from phimage.chunks.manifest import build, digest_of, encode
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import DiskReader
from phimage.delivery.qcow2 import MAX_CLUSTER, Qcow2Disk
from tests.delivering import CHUNK, make_piece, sha256_of

MIB = 1 << 20


def disk_of(size: int, chunk_size: int, data: dict[int, bytes]) -> DiskReader:
    """A disk with these chunks, by index, and zeros elsewhere."""
    store, at = MemoryStore(), 0
    chunks: list[ChunkDigest | int] = []
    digests: dict[int, ChunkDigest] = {}
    for index, raw in sorted(data.items()):
        if id(raw) not in digests:
            digests[id(raw)] = ChunkDigest(bytes.fromhex(sha256_of(raw)))
            store.put(chunk_name(digests[id(raw)]), pack(raw))
        digest = digests[id(raw)]
        chunks += [index - at, digest] if index > at else [digest]
        at = index + 1
    count = -(-size // chunk_size)
    chunks += [count - at] if count > at else []
    manifest = build(size, chunk_size, DiskDigest("0" * 64), chunks, {})
    return DiskReader(store, digest_of(encode(manifest)), manifest)


def save(form: Qcow2Disk, path: Path) -> Path:
    """All bytes of the file, asked for in one piece."""
    with path.open("wb") as file:
        for piece in form.pieces(0, form.size):
            file.write(make_piece(piece))
    assert path.stat().st_size == form.size
    return path


def qemu_img(*arguments: str | Path) -> str:
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True).stdout


def check(path: Path) -> dict[str, int]:
    """What `qemu-img check` counts. It fails for leaks and for errors."""
    found: dict[str, int] = json.loads(qemu_img("check", "-f", "qcow2", "--output=json", path))
    assert found["check-errors"] == 0
    assert "leaks" not in found
    assert "corruptions" not in found
    return found


SOME = random.Random(5)

DISKS = {
    "one short chunk": (512 * 3, CHUNK, {0: SOME.randbytes(512 * 3)}),
    "all zeros": (10 * CHUNK + 512, CHUNK, {}),
    "all data": (4 * CHUNK, CHUNK, {index: SOME.randbytes(CHUNK) for index in range(4)}),
    "data at both ends": (9 * CHUNK + 512, CHUNK, {0: SOME.randbytes(CHUNK), 9: SOME.randbytes(512)}),
    "the same chunk twice": (4 * CHUNK, CHUNK, {1: b"a" * CHUNK, 3: b"a" * CHUNK}),
    "chunks of 1 MiB": (3 * MIB + 4096, MIB, {1: SOME.randbytes(MIB), 3: SOME.randbytes(4096)}),
    "chunks of 4 MiB, larger than a cluster": (9 * MIB, 4 * MIB, {0: SOME.randbytes(4 * MIB), 2: SOME.randbytes(MIB)}),
    "three L2 tables, the middle one empty": (
        1280 * MIB,
        CHUNK,
        {0: SOME.randbytes(CHUNK), 8191: SOME.randbytes(CHUNK), 16384: SOME.randbytes(CHUNK), 20479: SOME.randbytes(CHUNK)},
    ),
    "a run over the border of two L2 tables": (
        600 * MIB,
        CHUNK,
        {index: SOME.randbytes(CHUNK) for index in range(8189, 8196)},
    ),
}


@pytest.mark.parametrize("name", DISKS)
def test_qemu_finds_nothing_wrong_and_the_same_disk(tmp_path: Path, name: str) -> None:
    size, chunk_size, data = DISKS[name]
    reader = disk_of(size, chunk_size, data)
    path = save(Qcow2Disk(reader), tmp_path / "disk.qcow2")

    check(path)
    info = json.loads(qemu_img("info", "-f", "qcow2", "--output=json", path))
    assert info["virtual-size"] == size
    assert info["cluster-size"] == min(chunk_size, MAX_CLUSTER)
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:  # sparse: only what is there
        file.truncate(size)
        for index, content in data.items():
            file.seek(index * chunk_size)
            file.write(content)
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", path, raw)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, tmp_path / "converted.raw")
    if size < 100 * MIB:
        assert (tmp_path / "converted.raw").read_bytes() == raw.read_bytes()
    assert (tmp_path / "converted.raw").stat().st_size == size


def test_zeros_are_not_in_the_file(tmp_path: Path) -> None:
    form = Qcow2Disk(disk_of(1 << 40, MIB, {5: SOME.randbytes(MIB), 1 << 19: SOME.randbytes(MIB)}))

    assert form.size <= 10 * MIB
    assert check(save(form, tmp_path / "disk.qcow2"))["allocated-clusters"] == 2


def test_the_largest_disk_has_tables_that_qemu_takes(tmp_path: Path) -> None:
    path = save(Qcow2Disk(disk_of(64 << 40, CHUNK, {(64 << 24) - 1: b"end!" * (CHUNK // 4)})), tmp_path / "disk.qcow2")

    check(path)
    assert json.loads(qemu_img("info", "-f", "qcow2", "--output=json", path))["virtual-size"] == 64 << 40


def test_more_clusters_than_one_refcount_block_counts(tmp_path: Path) -> None:
    """With clusters of 64 KiB one block counts 32,768 of them."""
    chunk = SOME.randbytes(CHUNK)
    form = Qcow2Disk(disk_of(33_000 * CHUNK, CHUNK, dict.fromkeys(range(33_000), chunk)))
    path = tmp_path / "disk.qcow2"
    tables = form.size - 33_000 * CHUNK
    with path.open("wb") as file:
        for piece in form.pieces(0, tables):
            file.write(make_piece(piece))
        file.truncate(form.size)  # qemu-img check looks at the tables alone

    assert check(path)["allocated-clusters"] == 33_000


def test_a_disk_that_ends_inside_a_sector_is_filled_up(tmp_path: Path) -> None:
    content = SOME.randbytes(CHUNK + 100)
    path = save(Qcow2Disk(disk_of(len(content), CHUNK, {0: content[:CHUNK], 1: content[CHUNK:]})), tmp_path / "disk.qcow2")

    check(path)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, tmp_path / "converted.raw")
    assert (tmp_path / "converted.raw").read_bytes() == content + bytes(512 - 100)


def test_the_file_is_the_same_however_it_is_asked_for() -> None:
    some = random.Random(9)
    for size, chunk_size, data in DISKS.values():
        if size > 100 * MIB:
            continue
        form = Qcow2Disk(disk_of(size, chunk_size, data))
        whole = b"".join(make_piece(piece) for piece in form.pieces(0, form.size))
        again = Qcow2Disk(disk_of(size, chunk_size, data))
        for _ in range(100):
            start = some.randrange(form.size)
            stop = min(form.size, start + some.choice([1, 100, CHUNK, 3 * MIB]))
            assert b"".join(make_piece(piece) for piece in again.pieces(start, stop)) == whole[start:stop]
