"""Disks in every store: written, read in every way, damaged, refused, shared, measured."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from phimage.chunks.errors import BadChunk, BadManifest, WrongDisk
from phimage.chunks.frame import pack, zstd
from phimage.chunks.gc import collect_garbage
from phimage.chunks.layout import ChunkDigest, chunk_name, digest_of_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import DiskReader, open_disk
from phimage.chunks.scrub import ScrubFinding, ScrubProgress, scrub
from phimage.chunks.stats import measure
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written, write_file
from tests.contract import stores

s3, kind, new_store, store = stores.s3, stores.kind, stores.new_store, stores.store

CHUNK = 64 << 10
SIZE = 10 * CHUNK + 5000


def no_sleep(seconds: float) -> None:
    """Never sleeps: no other process uses these stores."""


def disk(seed: int = 1, size: int = SIZE) -> bytes:
    """A disk with holes: chunks 2, 3 and 4 are zeros."""
    data = bytearray(random.Random(seed).randbytes(size))
    data[2 * CHUNK : 5 * CHUNK] = bytes(3 * CHUNK)
    data[7 * CHUNK + 100 : 8 * CHUNK] = bytes(CHUNK - 100)
    return bytes(data)


def write(store: Store, data: bytes, **facts: object) -> Written:
    with DiskWriter(store, len(data), chunk_size=CHUNK) as writer:
        writer.write(data)
        return writer.finish(facts)


def findings(store: Store, *images: Written) -> list[ScrubFinding]:
    found = scrub(store, [image.digest for image in images], now=1e12, whole_disk=True)
    return [each for each in found if isinstance(each, ScrubFinding)]


def test_a_disk_comes_back_as_it_was_in_every_way_of_reading(store: Store) -> None:
    data = disk()
    written = write(store, data, os="debian")

    reader = open_disk(store, written.digest)

    assert reader.manifest == written.manifest == load_manifest(store, written.digest)
    assert reader.manifest.sha256 == sha256(data).hexdigest()
    assert reader.manifest.facts == {"os": "debian"}
    assert b"".join(reader.chunks()) == data
    assert zstd.decompress(b"".join(reader.frames())) == data
    assert reader.read(0, SIZE) == data
    assert b"".join(reader.chunk(index) for index in range(11)) == data
    chance = random.Random(3)
    for _ in range(40):
        start, stop = sorted((chance.randrange(SIZE + 1), chance.randrange(SIZE + 1)))
        assert reader.read(start, stop - start) == data[start:stop]
        assert b"".join(reader.chunks(start, stop)) == data[start:stop]
    assert findings(store, written) == []
    assert reader.bad == 0


def test_zero_chunks_are_not_stored_and_equal_ones_once(store: Store) -> None:
    block = random.Random(1).randbytes(CHUNK)

    written = write(store, block + bytes(3 * CHUNK) + block + block)

    assert sorted(stored.name for stored in store.list()) == [
        chunk_name(ChunkDigest(sha256(block).digest())),
        manifest_name(written.digest),
    ]
    assert written.new_chunks == 1


def test_the_same_disk_has_the_same_manifest_in_every_store(store: Store) -> None:
    assert (
        write(store, disk(), a=1, b=[None, True, "ä"]).digest == write(MemoryStore(), disk(), b=[None, True, "ä"], a=1).digest
    )
    assert write(store, disk(), a=1).new_chunks == 0


def test_a_sparse_file_is_read_without_its_holes(store: Store, tmp_path: Path) -> None:
    data = disk(size=40 * CHUNK) + bytes(20 * CHUNK)
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(len(data))
        for at in range(0, len(data), 4096):
            if data[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(data[at : at + 4096])
    heard: list[int] = []

    with DiskWriter(store, len(data), chunk_size=CHUNK, progress=heard.append) as writer:
        write_file(writer, path)
        written = writer.finish({})

    assert written.manifest.sha256 == sha256(data).hexdigest()
    assert b"".join(open_disk(store, written.digest).chunks()) == data
    assert heard == sorted(heard)
    assert heard[-1] == len(data)


# T5: bit rot


def damage(store: Store, name: str, how: Callable[[bytes], bytes | None]) -> bytes:
    good = store.get(name)
    bad = how(good)
    if bad is None:
        store.delete(name)
    else:
        store.put(name, bad)
    return good


def flip(data: bytes) -> bytes:
    at = len(data) * 5 // 8
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def check_refused(store: Store, written: Written, index: int, told: list[BadChunk]) -> None:
    """Every read reports the bad chunk, and reads without it return the right bytes."""
    data, begins = disk(), index * CHUNK
    digest = written.manifest.chunk(index)
    assert digest is not None
    reader = DiskReader(store, written.digest, written.manifest, on_bad_chunk=told.append)
    ways: list[Callable[[], object]] = [
        lambda: reader.chunk(index),
        lambda: reader.frame(index),
        lambda: reader.read(begins + 1, 1),
        lambda: b"".join(reader.chunks()),
        lambda: b"".join(reader.chunks(begins + 10, begins + 20)),
        lambda: b"".join(reader.frames(max_ahead=0)),
    ]
    for number, way in enumerate(ways, 1):
        with pytest.raises(BadChunk) as raised:
            way()
        bad = raised.value
        assert (bad.manifest, bad.chunk, bad.index, bad.offset) == (written.digest, digest.hex(), index, begins)
        assert digest.hex() in str(bad)
        assert str(begins) in str(bad)
        assert reader.bad == len(told) == number
    sent = bytearray()
    with suppress(BadChunk):
        for piece in reader.chunks():
            sent += piece
    assert sent == data[:begins]  # what came before is right
    assert reader.read(0, begins) == data[:begins]
    told.clear()


def test_one_flipped_bit_in_any_stored_chunk_is_found_and_named_by_every_way_of_reading(store: Store) -> None:
    written = write(store, disk())
    stored = list(written.manifest.stored())
    assert [index for index, _ in stored] == [0, 1, 5, 6, 7, 8, 9, 10]

    for index, digest in stored:
        good = damage(store, chunk_name(digest), flip)
        check_refused(store, written, index, [])
        (found,) = findings(store, written)
        assert (found.kind, found.manifest, found.chunk) == ("corrupt", written.digest, digest.hex())
        assert (found.index, found.offset) == (index, index * CHUNK)
        store.put(chunk_name(digest), good)
    assert findings(store, written) == []


def bomb(frame: bytes) -> bytes:
    return pack(bytes(64 << 20))


def bomb_without_size(frame: bytes) -> bytes:
    compressor = zstd.ZstdCompressor()
    return compressor.compress(bytes(8 << 20)) + compressor.flush()


WRONG_FRAMES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda frame: None,
    "empty": lambda frame: b"",
    "cut": lambda frame: frame[:-1],
    "half": lambda frame: frame[: len(frame) // 2],
    "one byte more": lambda frame: frame + b"\0",
    "twice": lambda frame: frame + frame,
    "with a skippable frame before": lambda frame: b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + frame,
    "with a skippable frame after": lambda frame: frame + b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
    "another chunk": lambda frame: pack(b"x" * CHUNK),
    "a byte shorter": lambda frame: pack(zstd.decompress(frame)[:-1]),
    "a byte longer": lambda frame: pack(zstd.decompress(frame) + b"\0"),
    "raw": zstd.decompress,
    "no frame": lambda frame: b"<html>not found</html>",
    "a bomb": bomb,
    "a bomb that does not tell its size": bomb_without_size,
    "much too long": lambda frame: frame + bytes(1 << 20),
}


@pytest.mark.parametrize("name", WRONG_FRAMES)
def test_a_frame_that_is_not_exactly_the_chunk_is_refused(name: str) -> None:
    store = MemoryStore()
    written = write(store, disk())
    digest = written.manifest.chunk(6)
    assert digest is not None

    damage(store, chunk_name(digest), WRONG_FRAMES[name])

    check_refused(store, written, 6, [])
    assert [found.kind for found in findings(store, written)] == ["missing" if name == "missing" else "corrupt"]


def test_a_chunk_that_images_share_is_named_for_each_of_them(store: Store) -> None:
    first, second = write(store, disk()), write(store, disk()[:-1] + b"!")
    digest = first.manifest.chunk(5)
    assert digest is not None
    damage(store, chunk_name(digest), flip)

    found = list(scrub(store, [first.digest, second.digest], now=1e12))

    wrong = [each for each in found if isinstance(each, ScrubFinding)]
    assert {(each.manifest, each.index) for each in wrong} == {(first.digest, 5), (second.digest, 5)}
    progress = [each for each in found if isinstance(each, ScrubProgress)]
    assert progress[-1].chunks == progress[-1].all_chunks == 9
    assert progress[-1].bytes == 6 * CHUNK + 2 * 5000


def test_a_corrupt_chunk_put_aside_is_healed_by_writing_the_disk_again(store: Store) -> None:
    written = write(store, disk())
    digest = written.manifest.chunk(5)
    assert digest is not None
    damage(store, chunk_name(digest), flip)

    list(scrub(store, [written.digest], now=1e12, quarantine=True))

    assert store.find(chunk_name(digest)) is None
    assert [stored.name for stored in store.list("quarantine")] == [f"quarantine/{digest.hex()}"]
    assert [found.kind for found in findings(store, written)] == ["missing"]
    assert write(store, disk()).new_chunks == 1
    assert findings(store, written) == []


def test_good_chunks_that_are_not_the_promised_disk_are_found_by_the_long_scrub() -> None:
    store = MemoryStore()
    with DiskWriter(store, CHUNK * 2, chunk_size=CHUNK) as writer:
        writer.write(disk()[: 2 * CHUNK])
        writer._whole.update(b"a writer that is wrong")
        written = writer.finish({})

    assert [found.kind for found in findings(store, written)] == ["disk"]


WRONG_MANIFESTS: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": flip,
    "cut": lambda data: data[:-1],
    "one byte more": lambda data: data + b" ",
    "missing": lambda data: None,
}


@pytest.mark.parametrize("how", WRONG_MANIFESTS)
def test_a_damaged_manifest_is_refused(store: Store, how: str) -> None:
    written = write(store, disk())
    damage(store, manifest_name(written.digest), WRONG_MANIFESTS[how])

    with pytest.raises(BadManifest, match=written.digest):
        open_disk(store, written.digest)
    (found,) = findings(store, written)
    assert (found.kind, found.manifest) == ("manifest", written.digest)
    with pytest.raises(BadManifest):  # what it needs is not known, so nothing is removed
        collect_garbage(store, lambda: [written.digest], now=1e12, sleep=no_sleep)
    assert len(list(store.list("chunks"))) == 8


# T6: what is not the announced disk


def write_all(writer: DiskWriter, digest: str | None) -> None:
    writer.write(disk())
    writer.finish({}, sha256=digest)


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        (SIZE - 1, None),
        (SIZE + 1, None),
        (SIZE + CHUNK, None),
        (1, None),
        (SIZE, sha256(b"another").hexdigest()),
        (SIZE, sha256(disk()).hexdigest().upper()),
        (SIZE, sha256(disk()).hexdigest()[:-1]),
        (SIZE, ""),
        (SIZE, "sha256:" + sha256(disk()).hexdigest()),
    ],
)
def test_a_disk_that_is_not_the_announced_one_gets_no_manifest(store: Store, size: int, digest: str | None) -> None:
    with DiskWriter(store, size, chunk_size=CHUNK) as writer, pytest.raises(WrongDisk):
        write_all(writer, digest)

    assert list(store.list("manifests")) == []
    collect_garbage(store, list, now=1e12, sleep=no_sleep)
    assert list(store.list()) == []


def test_the_announced_disk_is_taken(store: Store) -> None:
    with DiskWriter(store, SIZE, chunk_size=CHUNK) as writer:
        writer.write(disk())
        writer.finish({}, sha256=sha256(disk()).hexdigest())


def test_an_aborted_disk_leaves_only_what_a_collection_removes(store: Store) -> None:
    with DiskWriter(store, SIZE, chunk_size=CHUNK) as writer:
        writer.write(disk()[: SIZE // 2])

    assert list(store.list("manifests")) == []
    report = collect_garbage(store, list, now=1e12, sleep=no_sleep)
    assert list(store.list()) == []
    assert report.removed_chunks <= 2  # three of five are zeros, the one that was not full was never put
    with pytest.raises(ValueError, match="finished or aborted"):
        writer.write(b"more")
    with pytest.raises(ValueError, match="finished or aborted"):
        writer.finish({})


# what it costs


def test_statistics_tell_what_each_image_has_to_itself(store: Store) -> None:
    shared = random.Random(1).randbytes(4 * CHUNK)
    first = write(store, shared + random.Random(2).randbytes(2 * CHUNK) + bytes(10 * CHUNK))
    second = write(store, shared + random.Random(3).randbytes(CHUNK))
    write(store, random.Random(4).randbytes(3 * CHUNK))

    stats = measure(store, [first.digest, second.digest, first.digest])

    one, two = stats.images
    frame = len(pack(random.Random(2).randbytes(CHUNK)))  # random bytes do not get smaller
    assert (one.logical, one.data, one.missing) == (16 * CHUNK, 6 * CHUNK, 0)
    assert (one.own, one.shared) == (2 * frame, 4 * frame)
    assert (two.own, two.shared) == (frame, 4 * frame)
    assert (stats.logical, stats.data) == (21 * CHUNK, 11 * CHUNK)
    assert (stats.stored, stats.unneeded) == (7 * frame, 3 * frame)
    assert (stats.chunks, stats.shared) == (7, 4 * frame)
    assert stats.ratio == pytest.approx(21 * CHUNK / (7 * frame))
    every = sum(stored.size for stored in store.list())
    assert stats.stored + stats.unneeded + stats.other == every
    report = collect_garbage(store, lambda: [second.digest], now=1e12, dry_run=True, sleep=no_sleep)
    assert report.removed_bytes > one.own + 3 * frame  # and two manifests
    assert sum(stored.size for stored in store.list()) == every


@pytest.mark.more
def test_ten_images_that_each_rewrite_one_percent_of_a_base_take_at_max_a_quarter_more_than_one() -> None:
    store, chance = MemoryStore(), random.Random(5)
    mib = 1 << 20
    base = chance.randbytes(100 * mib)
    images = []
    for _ in range(10):
        at = chance.randrange(0, 99 * mib, 4096)
        changed = memoryview(base[:at] + chance.randbytes(mib) + base[at + mib :])
        with DiskWriter(store, len(changed)) as writer:
            writer.write(changed)
            images.append(writer.finish({}))
    alone = measure(store, [images[0].digest]).stored

    assert measure(store, [image.digest for image in images]).stored <= 1.25 * alone
    for stored in store.list("chunks"):
        assert digest_of_name(stored.name) is not None
