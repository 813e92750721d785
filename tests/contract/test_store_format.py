"""docs/store-format.md suffices for a stranger: its example is right, and its reader reads what phimage writes."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

from phimage.chunks import gc_guard
from phimage.chunks.folder import FolderStore
from phimage.chunks.frame import unpack
from phimage.chunks.layout import CHUNK_SIZE, MAX_CHUNKS, MAX_DISK_SIZE, MIN_GRACE_SECONDS, ChunkDigest, ManifestDigest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.write import DiskWriter

DOCUMENT = (Path(__file__).parents[2] / "docs" / "store-format.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", DOCUMENT, re.DOTALL)


def test_the_example_is_what_phimage_writes_and_reads() -> None:
    disk = b"phimage\n" * 8192 + bytes(65536) + b"the end\n" * 100
    written = MemoryStore()
    with DiskWriter(written, len(disk), chunk_size=65536) as writer:
        writer.write(disk)
        digest = writer.finish({"os": "example"}).digest
    names = re.findall(r"^`((?:chunks|frames|manifests)/[^`]*)`, (\d+) bytes:", DOCUMENT, re.MULTILINE)
    objects = [bytes.fromhex(block) for block in blocks("hex")] + [block.encode() for block in blocks("json")]

    assert {name for name, _ in names} == set(written.objects)
    store = MemoryStore()
    for (name, size), data in zip(names, objects, strict=True):
        assert len(data) == int(size)
        store.put(name, data)
    assert store.get(f"manifests/{digest[:2]}/{digest}") == written.get(f"manifests/{digest[:2]}/{digest}")
    assert b"".join(open_disk(store, ManifestDigest(names[-1][0][-64:])).chunks()) == disk
    unpack(objects[0], ChunkDigest(bytes.fromhex(names[0][0][-64:])), 65536)


def test_the_reader_in_the_document_reads_an_image_out_of_a_folder(tmp_path: Path) -> None:
    disk = random.Random(1).randbytes(200_000) + bytes(300_000) + random.Random(2).randbytes(123_457)
    with DiskWriter(FolderStore(tmp_path / "store"), len(disk), chunk_size=65536) as writer:
        writer.write(disk)
        digest = writer.finish({}).digest
    (tmp_path / "reader.py").write_text(blocks("python")[0])

    subprocess.run([sys.executable, tmp_path / "reader.py", tmp_path / "store", digest, tmp_path / "disk"], check=True)

    assert (tmp_path / "disk").read_bytes() == disk


def test_the_numbers_in_the_document_are_those_of_the_code() -> None:
    assert (MAX_CHUNKS, MAX_DISK_SIZE, CHUNK_SIZE) == (2_000_000, 2**46, 1 << 20)
    assert (gc_guard.OLD_SECONDS, gc_guard.REPEAT_SECONDS, MIN_GRACE_SECONDS) == (30 * 60, 15 * 60, 3600)
    assert 7 * 60 < gc_guard.REGISTER_SECONDS < 8 * 60
