from __future__ import annotations

import random
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.chunks.errors import BadManifest
from phimage.chunks.frame import zero_digest
from phimage.chunks.layout import MAX_DISK_SIZE, ChunkDigest, DiskDigest, ManifestDigest, manifest_name
from phimage.chunks.manifest import Manifest, build, decode, digest_of, encode, load_manifest
from phimage.chunks.memory import MemoryStore

SIZE = 64 << 10
DISK = DiskDigest(sha256(b"disk").hexdigest())
A, B = (ChunkDigest(sha256(name).digest()) for name in (b"a", b"b"))


def manifest(*chunks: ChunkDigest | int, size: int = 5 * SIZE, facts: Mapping[str, Any] | None = None) -> Manifest:
    return build(size, SIZE, DISK, chunks, facts or {})


def test_a_manifest_is_written_as_the_format_document_says() -> None:
    data = encode(manifest(A, 2, B, A, facts={"b": 1, "a": ["ä", None, True]}))

    a, b = A.hex(), B.hex()
    text = f'{{"chunk_size":65536,"chunks":["{a}",2,"{b}","{a}"],"facts":{{"a":["ä",null,true],"b":1}},'
    text += f'"format":"phimage-disk-1","sha256":"{DISK}","size":327680}}'
    assert data == text.encode()
    assert decode(data) == manifest(A, 2, B, A, facts={"b": 1, "a": ["ä", None, True]})


def test_chunks_are_found_by_their_index() -> None:
    found = manifest(1, A, B, 1, 1)

    assert [found.chunk(index) for index in range(5)] == [None, A, B, None, None]
    assert list(found.stored()) == [(1, A), (2, B)]
    assert found.count == 5


def test_the_last_chunk_may_be_short() -> None:
    found = manifest(A, B, size=SIZE + 1)

    assert [found.length(index) for index in range(found.count)] == [SIZE, 1]


@given(st.lists(st.one_of(st.integers(1, 3), st.binary(min_size=32, max_size=32).map(ChunkDigest)), min_size=1), st.data())
def test_what_is_encoded_decodes_to_the_same(chunks: list[ChunkDigest | int], data: st.DataObject) -> None:
    count = sum(chunk if isinstance(chunk, int) else 1 for chunk in chunks)
    size = data.draw(st.integers((count - 1) * SIZE + 1, count * SIZE))
    made = build(size, SIZE, DISK, chunks, {})

    assert decode(encode(made)) == made
    flat = [each for chunk in chunks for each in ([None] * chunk if isinstance(chunk, int) else [chunk])]
    assert [made.chunk(index) for index in range(count)] == flat


GOOD: dict[str, Any] = {
    "chunk_size": SIZE,
    "chunks": [A.hex(), 2, B.hex(), A.hex()],
    "facts": {},
    "format": "phimage-disk-1",
    "sha256": DISK,
    "size": 5 * SIZE,
}


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "phimage-disk-2"},
        {"size": 0},
        {"size": -1},
        {"size": 5 * SIZE + 1},
        {"size": 4 * SIZE},
        {"size": MAX_DISK_SIZE + 1},
        {"size": 10**30},
        {"size": 5.0 * SIZE},
        {"size": str(5 * SIZE)},
        {"size": True},
        {"chunk_size": SIZE - 1},
        {"chunk_size": 3 * SIZE // 2},
        {"chunk_size": 1},
        {"chunk_size": 32 << 20},
        {"chunk_size": 0},
        {"sha256": DISK.upper()},
        {"sha256": DISK[:-1]},
        {"sha256": DISK + "00"},
        {"sha256": "g" + DISK[1:]},
        {"sha256": None},
        {"chunks": []},
        {"chunks": [5, 0]},
        {"chunks": [6, -1]},
        {"chunks": [2, 3]},
        {"chunks": [6]},
        {"chunks": [10**18]},
        {"chunks": [5, A.hex()]},
        {"chunks": [A.hex()] * 4},
        {"chunks": [A.hex()] * 6},
        {"chunks": [4, A.hex().upper()]},
        {"chunks": [4, A.hex()[:-2]]},
        {"chunks": [4, A.hex() + "00"]},
        {"chunks": [4, A.hex()[:-2] + " " + A.hex()[-2:]]},
        {"chunks": [4, "xyz"]},
        {"chunks": [4, None]},
        {"chunks": [4, 1.0]},
        {"chunks": [4, [A.hex()]]},
        {"chunks": [4, zero_digest(SIZE).hex()]},
        {"chunks": "all"},
        {"facts": None},
        {"facts": []},
        {"facts": {"a": 1.5}},
        {"facts": {"a": 2**53}},
        {"extra": 1},
        {"chunks": None},
    ],
    ids=str,
)
def test_an_odd_manifest_is_refused(changed: dict[str, Any]) -> None:
    assert decode(encode(decode(msgspec.json.encode(GOOD)))).size == 5 * SIZE

    with pytest.raises(ValueError):  # noqa: PT011
        decode(msgspec.json.encode(GOOD | changed, order="sorted"))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data.replace(b":", b": ", 1),
        lambda data: data[:-1] + b',"size":327680}',
        lambda data: data.replace(b'"format":"phimage-disk-1",', b"") [:-1] + b',"format":"phimage-disk-1"}',
        lambda data: data.replace(b"phimage", b"\\u0070himage"),
        lambda data: data.replace(b",2,", b",02,"),
        lambda data: data.replace(b",2,", b",2e0,"),
        lambda data: data[:-1],
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b'"facts":{}', b'"facts":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        lambda data: b"",
        lambda data: b"null",
        lambda data: data.replace(b'"facts":{}', b'"facts":{"a":"\xff"}'),
    ],
)  # fmt: skip
def test_a_manifest_written_in_any_other_way_is_refused(change: Any) -> None:
    data = encode(manifest(A, 2, B, A))
    assert change(data) != data

    with pytest.raises(ValueError):  # noqa: PT011
        decode(change(data))


@pytest.mark.parametrize(
    "facts",
    [{"a": 1.0}, {"a": b"bytes"}, {"a": [object()]}, {"a": 2**60}, {1: 2}, {"a": "x" * (2 << 20)}, {"a": "\ud800"}],
    ids=["a fraction", "bytes", "an object", "too large", "a number as name", "too long", "half a character"],
)
def test_facts_that_not_every_program_reads_alike_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        manifest(5, facts=facts)


def test_a_manifest_is_only_what_its_name_says() -> None:
    store = MemoryStore()
    data = encode(manifest(5))
    store.put(manifest_name(digest_of(data)), data)
    assert load_manifest(store, digest_of(data)) == manifest(5)

    other = ManifestDigest(sha256(b"other").hexdigest())
    store.put(manifest_name(other), data)
    with pytest.raises(BadManifest, match="another SHA-256"):
        load_manifest(store, other)
    with pytest.raises(BadManifest, match="not in the store"):
        load_manifest(store, ManifestDigest("0" * 64))
    with pytest.raises(BadManifest, match="not a SHA-256"):
        load_manifest(store, ManifestDigest("../../etc/passwd"))
    broken = random.Random(1).randbytes(100)
    store.put(manifest_name(digest_of(broken)), broken)
    with pytest.raises(BadManifest, match="cannot be read"):
        load_manifest(store, digest_of(broken))
