"""Uploads by chunks over HTTP, in process: what is needed, which frames are kept, and what may be sealed."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any

import pytest

from phimage.chunk_upload import manifest
from phimage.chunks.decorators import StoreMetrics, measured
from phimage.chunks.frame import pack, zstd
from phimage.chunks.layout import CHUNK_SIZE, ChunkDigest, chunk_name
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.uploaded_chunks import MAX_ASKED, MAX_FRAMES, ChunkSource, find_seal
from phimage.chunks.uploads import last_put, leftovers, parts, remove
from phimage.chunks.write import DiskWriter
from phimage.model.ids import AccountId, JobId, ManifestDigest
from phimage.uploads.authorizer import Upload, UploadClosed
from phimage.uploads.chunks import ChunkUploads
from tests.api.test_uploads import Gateway, Reply, told
from tests.uploading import JOB, FakeAuthorizer

URL = f"/uploads/{JOB}"
CHUNKS = [random.Random(seed).randbytes(CHUNK_SIZE // 2).ljust(CHUNK_SIZE, b".") for seed in range(3)]
LAST = b"the last chunk is shorter".ljust(4096, b"!")
FRAMES = b"".join(pack(raw) for raw in (*CHUNKS, LAST))
DIGESTS = [sha256(raw).digest() for raw in (*CHUNKS, LAST)]
SIZE = 5 * CHUNK_SIZE + len(LAST)
SEAL = manifest(SIZE, [DIGESTS[0], 1, DIGESTS[1], DIGESTS[2], 1, DIGESTS[3]])


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    found = Gateway()
    with closing(found.uploads):
        yield found


def put(gateway: Gateway, body: bytes, job: JobId = JOB) -> Reply:
    return gateway.ask("PUT", f"/uploads/{job}/chunks", body, told(body))


def post(gateway: Gateway, below: str, body: bytes, job: JobId = JOB) -> Reply:
    return gateway.ask("POST", f"/uploads/{job}/{below}", body, told(body))


def needed(gateway: Gateway, digests: list[bytes], job: JobId = JOB) -> list[bool]:
    reply = post(gateway, "need", b"".join(digests), job)
    assert reply.status == 200
    bits = base64.b64decode(reply.fields["Need"])
    assert len(bits) == -(-len(digests) // 8)
    return [bool(bits[number // 8] >> number % 8 & 1) for number in range(len(digests))]


def image(gateway: Gateway, *chunks: bytes) -> ManifestDigest:
    """A disk that some image has."""
    with DiskWriter(gateway.store, len(chunks) * CHUNK_SIZE) as writer:
        for raw in chunks:
            writer.write(raw)
        return writer.finish({}).digest


def source(gateway: Gateway) -> ChunkSource:
    sealed = find_seal(gateway.store, JOB)
    assert sealed is not None
    return ChunkSource(gateway.store, JOB, sealed)


def test_what_is_sent_and_sealed_is_the_disk(gateway: Gateway) -> None:
    assert needed(gateway, DIGESTS) == [True] * 4
    assert put(gateway, FRAMES).fields == {"Chunks": 4}
    assert put(gateway, FRAMES).status == 201  # again
    assert needed(gateway, DIGESTS) == [False] * 4

    reply = post(gateway, "seal", SEAL)

    assert (reply.status, reply.fields) == (201, {"Size": SIZE, "Chunks": 4})
    disk = b"".join((CHUNKS[0], bytes(CHUNK_SIZE), CHUNKS[1], CHUNKS[2], bytes(CHUNK_SIZE), LAST))
    for offset in (0, 1, CHUNK_SIZE + 7, 4 * CHUNK_SIZE - 1, SIZE - 5, SIZE):
        with source(gateway).open(offset) as reader:
            assert reader.read(SIZE) == disk[offset:]
    assert source(gateway).head(9) == disk[:9]
    assert [each[1].frame for each in source(gateway).chunks() if not isinstance(each, int)] == [
        pack(raw) for raw in (*CHUNKS, LAST)
    ]


def test_what_the_store_has_is_known_only_to_who_may_read_it(gateway: Gateway) -> None:
    base, another = image(gateway, CHUNKS[0]), image(gateway, CHUNKS[1])
    put(gateway, pack(CHUNKS[2]), JobId("job-other"))
    gateway.authorizer.images = [base]

    assert needed(gateway, DIGESTS[:3]) == [False, True, True]
    assert needed(gateway, DIGESTS[:3], JobId("job-other")) == [False, True, False]
    reply = post(gateway, "seal", manifest(CHUNK_SIZE, [DIGESTS[1]]))  # another project's chunk cannot be claimed by its name
    assert (reply.status, reply.fields["Message"]) == (409, "Chunks missing")
    assert find_seal(gateway.store, JOB) is None
    gateway.authorizer.images = [base, another]
    assert needed(gateway, DIGESTS[:3]) == [False, False, True]


def test_a_chunk_of_an_image_that_was_lost_is_needed_again(gateway: Gateway) -> None:
    gateway.authorizer.images = [ManifestDigest("0" * 64), image(gateway, CHUNKS[0], CHUNKS[1])]
    gateway.store.delete(chunk_name(ChunkDigest(DIGESTS[1])))

    assert needed(gateway, DIGESTS[:2]) == [False, True]


def test_questions_alone_keep_an_upload_from_being_idle(gateway: Gateway) -> None:
    """The server has most of a large disk, and its client may ask for hours before it sends a chunk."""
    minutes = iter(range(120))
    gateway.authorizer.images = [image(gateway, *CHUNKS)]
    metrics: StoreMetrics = {}
    chunks = ChunkUploads(measured(gateway.store, metrics), gateway.authorizer, clock=lambda: 60.0 * next(minutes))
    for _ in range(120):
        chunks.need(Upload(JOB, 1 << 40, "project", AccountId("account")), DIGESTS[0])
    assert metrics["put"].calls == 11
    assert last_put(gateway.store, JOB) > 0
    assert parts(gateway.store, JOB) == []


def test_a_seal_looks_for_no_chunk_of_an_image(gateway: Gateway) -> None:
    """On S3 a large disk of which the store has most could not be sealed within the patience of its client."""
    gateway.authorizer.images = [image(gateway, *CHUNKS)]
    metrics: StoreMetrics = {}
    chunks = ChunkUploads(measured(gateway.store, metrics), gateway.authorizer)
    chunks.seal(Upload(JOB, 1 << 40, "project", AccountId("account")), manifest(3 * CHUNK_SIZE, DIGESTS[:3]))
    assert metrics.keys() == {"list", "get", "put"}
    assert (metrics["get"].calls, metrics["put"].calls) == (1, 1)


def test_manifests_are_cached_by_their_length(gateway: Gateway) -> None:
    gateway.authorizer.images = [image(gateway, *CHUNKS[:2]), image(gateway, CHUNKS[2])]
    metrics: StoreMetrics = {}
    upload = Upload(JOB, 1 << 40, "project", AccountId("account"))
    for limit, reads in ((3, 2), (2, 6)):
        metrics.clear()
        chunks = ChunkUploads(measured(gateway.store, metrics), gateway.authorizer, max_digests=limit)
        for _ in range(3):
            chunks.need(upload, DIGESTS[2])
        assert metrics["get"].calls == reads


def frame(raw: bytes, **options: int) -> bytes:
    numbers = {"compression_level": 3, "checksum_flag": 1, **options}
    return zstd.compress(raw, options={zstd.CompressionParameter[name]: number for name, number in numbers.items()})


@pytest.mark.parametrize("options", [{"checksum_flag": 0}, {"content_size_flag": 0}])
def test_a_frame_that_is_not_canonical_is_packed_again(gateway: Gateway, options: dict[str, int]) -> None:
    assert put(gateway, frame(CHUNKS[0], **options) + frame(CHUNKS[1], compression_level=19)).status == 201

    stored = {gateway.store.get(name) for name in gateway.kept()}
    assert stored == {pack(CHUNKS[0]), frame(CHUNKS[1], compression_level=19)}


BAD_FRAMES: dict[str, bytes] = {
    "no frame": b"not a frame",
    "cut": FRAMES[:-1],
    "flipped": bytes([*FRAMES[:5000], FRAMES[5000] ^ 1, *FRAMES[5001:]]),
    "skippable": bytes.fromhex("502a4d1804000000") + b"1234",
    "something behind it": FRAMES + b"x",
    "zeros": pack(bytes(CHUNK_SIZE)),
    "too long": pack(CHUNKS[0] + b"x"),
    "empty": pack(b""),
    "too many": pack(b"x") * (MAX_FRAMES + 1),
    "a bomb": pack(bytes(100 << 20)),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_frames_that_are_no_chunks_are_refused_and_nothing_is_kept(gateway: Gateway, case: str) -> None:
    reply = put(gateway, BAD_FRAMES[case])

    assert (reply.status, reply.fields["Message"]) == (400, "Wrong chunks")
    assert gateway.kept() == []


BAD_SEALS: dict[str, tuple[bytes, int]] = {
    "not JSON": (b"{", 400),
    "with space": (SEAL.replace(b",", b", ", 1), 400),
    "unknown member": (SEAL.replace(b'"format"', b'"facts":{},"format"'), 400),
    "other chunk size": (SEAL.replace(b"1048576", b"2097152", 1), 400),
    "too few chunks": (manifest(SIZE + CHUNK_SIZE, [DIGESTS[0]]), 400),
    "zeros beside zeros": (manifest(SIZE, [DIGESTS[0], 1, 4]), 400),
    "a chunk of zeros": (manifest(CHUNK_SIZE, [sha256(bytes(CHUNK_SIZE)).digest()]), 400),
    "no chunk": (manifest(0, []), 400),
    "too large": (manifest(1 << 41, [1 << 21]), 413),
    "a chunk that was not sent": (manifest(CHUNK_SIZE, [sha256(b"unknown").digest()]), 409),
}


@pytest.mark.parametrize("case", BAD_SEALS)
def test_a_disk_that_cannot_be_read_is_not_sealed(gateway: Gateway, case: str) -> None:
    put(gateway, FRAMES)

    assert post(gateway, "seal", BAD_SEALS[case][0]).status == BAD_SEALS[case][1]
    assert find_seal(gateway.store, JOB) is None


def test_a_question_has_whole_digests_and_not_too_many(gateway: Gateway) -> None:
    assert needed(gateway, []) == []
    assert post(gateway, "need", DIGESTS[0][:-1]).status == 400
    assert post(gateway, "need", bytes(32 * MAX_ASKED)).status == 200
    assert post(gateway, "need", bytes(32 * (MAX_ASKED + 1))).status == 413


def test_an_upload_has_no_more_chunks_than_its_disk() -> None:
    gateway = Gateway(authorizer=FakeAuthorizer(max_bytes=2 * CHUNK_SIZE))
    with closing(gateway.uploads):
        assert put(gateway, pack(CHUNKS[0]) + pack(CHUNKS[1])).status == 201
        assert put(gateway, pack(CHUNKS[1])).status == 201
        assert put(gateway, pack(CHUNKS[2])).status == 413
        assert post(gateway, "seal", manifest(3 * CHUNK_SIZE, [DIGESTS[0], DIGESTS[1], 1])).status == 413


def test_requests_are_admitted_and_their_bodies_verified_as_those_of_parts(gateway: Gateway) -> None:
    for method, below, body in (("POST", "need", DIGESTS[0]), ("PUT", "chunks", FRAMES), ("POST", "seal", SEAL)):
        path, right = f"{URL}/{below}", told(body)
        assert gateway.ask("GET", path).status == 405
        assert gateway.ask(method, path, body, right, query="Ticket=bad").status == 401
        assert gateway.ask(method, path, body, told(b"other")).fields["Message"] == "Wrong digest"
        assert gateway.ask(method, path, body, {}).fields["Message"] == "Wrong digest"
        assert gateway.kept() == []

    def closed(_: Any) -> None:
        raise UploadClosed("it is over")

    ended = Gateway(authorizer=FakeAuthorizer(before=closed))
    with closing(ended.uploads):
        assert put(ended, FRAMES).status == 409


def test_what_came_last_is_published(gateway: Gateway) -> None:
    """A seal that is there counts, so a part that comes after it takes its place."""
    put(gateway, FRAMES)
    for _ in range(2):
        assert post(gateway, "seal", SEAL).status == 201
        assert find_seal(gateway.store, JOB) is not None

        assert gateway.ask("PUT", f"{URL}/0", LAST, told(LAST)).status == 201
        assert find_seal(gateway.store, JOB) is None


def test_chunks_are_leftovers_of_their_upload_and_removed_with_it(gateway: Gateway) -> None:
    put(gateway, FRAMES)
    post(gateway, "seal", SEAL)
    assert leftovers(gateway.store) == {JOB}
    assert last_put(gateway.store, JOB) > 0

    remove(gateway.store, JOB)

    assert list(gateway.store.list()) == []
    assert isinstance(gateway.store, MemoryStore)
    assert needed(gateway, DIGESTS) == [True] * 4


def test_a_known_chunk_is_read_from_the_image_that_has_it(gateway: Gateway) -> None:
    gateway.authorizer.images = [image(gateway, CHUNKS[0], CHUNKS[1])]
    put(gateway, pack(CHUNKS[2]))

    assert post(gateway, "seal", manifest(3 * CHUNK_SIZE, DIGESTS[:3])).status == 201
    with source(gateway).open() as reader:
        assert reader.read(3 * CHUNK_SIZE) == b"".join(CHUNKS)
    assert open_disk(gateway.store, gateway.authorizer.images[0]).read(0, 5) == CHUNKS[0][:5]
