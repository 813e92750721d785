"""Originals that were sent by chunks: read once, examined like every other one, and stored as the frames that were sent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from phimage.chunks.frame import pack
from phimage.chunks.layout import CHUNK_SIZE, chunk_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.uploaded_chunks import put_frames, read_frames
from phimage.chunks.uploads import UPLOADS
from phimage.model.image import State
from phimage.model.job import JobState
from tests.publishing.shop import MIB, Shop, as_qcow2, disk, sha256_of


def test_a_disk_that_was_sent_by_chunks_is_that_disk(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    parts = shop.begin(raw, 1)
    assert shop.work_once().error == ""
    chunks = shop.begin_by_chunks(raw, 2)
    assert shop.work_once().error == ""

    one, other = shop.content(parts.image), shop.content(chunks.image)
    assert (other.manifest, other.sha256, other.source_digest) == (one.manifest, sha256_of(raw), f"sha256:{sha256_of(raw)}")
    assert (other.size, other.format, other.facts) == (6 * MIB, "raw", one.facts)
    assert shop.bytes_of(chunks.image) == raw.read_bytes()
    assert not list(shop.store.list(UPLOADS))
    assert list(shop.work.iterdir()) == []


def test_the_frames_are_kept_as_they_were_sent(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    job = shop.begin_by_chunks(raw)
    first = raw.read_bytes()[:CHUNK_SIZE]
    frame = pack(first, level=19)
    put_frames(shop.store, job.id, read_frames(frame))
    assert shop.work_once().error == ""

    manifest = load_manifest(shop.store, shop.content(job.image).manifest)
    digest = manifest.chunk(0)
    assert digest is not None
    assert shop.store.get(chunk_name(digest)) == frame


@pytest.mark.parametrize(
    ("digest", "format"), [("sha256:" + "1" * 64, ""), ("sha512:" + "1" * 128, ""), ("sha256:" + "1" * 64, "qcow2")]
)
def test_a_disk_with_another_digest_is_no_image(shop: Shop, tmp_path: Path, digest: str, format: str) -> None:
    job = shop.begin_by_chunks(disk(tmp_path), digest=digest, format=format)
    ended = shop.work_once()
    assert (ended.state, f"expected was {digest}" in ended.error) == (JobState.FAILED, True), ended.error
    assert shop.image(job.image).state is State.UNAVAILABLE
    assert {stored.name.partition("/")[0] for stored in shop.store.list()} <= {"chunks"}


def test_every_digest_that_a_file_may_have_is_compared(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    for number, digest in enumerate((f"sha512:{hashlib.sha512(raw.read_bytes()).hexdigest()}", ""), 1):
        shop.begin_by_chunks(raw, number, digest=digest)
        assert shop.work_once().error == ""


def test_another_format_that_is_sent_by_chunks_is_examined_and_converted(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    job = shop.begin_by_chunks(as_qcow2(raw))
    assert shop.work_once().error == ""
    content = shop.content(job.image)
    assert (content.format, content.sha256) == ("qcow2", sha256_of(raw))


def test_a_file_that_is_no_multiple_of_a_sector_is_padded(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    with raw.open("ab") as file:
        file.write(b"odd")
    job = shop.begin_by_chunks(raw)
    assert shop.work_once().error == ""
    assert shop.bytes_of(job.image) == raw.read_bytes() + bytes(509)
    assert shop.content(job.image).source_digest == f"sha256:{sha256_of(raw)}"


def test_a_tenant_reads_that_the_upload_must_be_sent_again(shop: Shop, tmp_path: Path) -> None:
    job = shop.begin_by_chunks(disk(tmp_path), tenant="acme")
    shop.store.delete(max(stored.name for stored in shop.store.list(f"{UPLOADS}/{job.id}/chunks")))
    assert shop.work_once().error.endswith("is not in the store any more; send it again")


@pytest.mark.parametrize("how", ["damaged", "absent"])
def test_a_chunk_that_is_not_as_it_was_sent_ends_the_publication(shop: Shop, tmp_path: Path, how: str) -> None:
    job = shop.begin_by_chunks(disk(tmp_path))
    name = max(stored.name for stored in shop.store.list(f"{UPLOADS}/{job.id}/chunks"))
    if how == "absent":
        shop.store.delete(name)
    else:
        frame = bytearray(shop.store.get(name))
        frame[len(frame) // 2] ^= 1
        shop.store.put(name, bytes(frame))
    ended = shop.work_once()
    assert ended.state is JobState.FAILED
    assert name.rpartition("/")[2] in ended.error
    assert shop.image(job.image).state is State.UNAVAILABLE
    assert not list(shop.store.list("manifests"))
