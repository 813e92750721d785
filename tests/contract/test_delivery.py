"""Downloads from every store, compared with a file that is cut by hand."""

from __future__ import annotations

import random
import time

import msgspec
import pytest

from phimage.chunks.frame import pack, zstd
from phimage.chunks.layout import ChunkDigest, chunk_name, manifest_name
from phimage.chunks.manifest import encode
from phimage.chunks.store import Store
from phimage.chunks.write import Written
from phimage.delivery.app import Delivery
from phimage.http.conditions import http_date
from tests import delivering
from tests.backing_up import at_call
from tests.contract import stores
from tests.delivering import (
    CHUNK,
    FORMS,
    IMAGE,
    PUBLISHED,
    Answered,
    Client,
    FakeAuthorizer,
    chunk_at,
    content_of,
    delivery_of,
    disk_bytes,
    logged,
    sha256_of,
    write_disk,
)

store, kind, new_store, s3 = stores.store, stores.kind, stores.new_store, stores.s3
written, authorizer, delivery, client = delivering.written, delivering.authorizer, delivering.delivery, delivering.client

RANGES = {"memory": 2000, "wrapped": 100, "folder": 300, "s3": 60}
"""How many random ranges a store is asked for."""

RAW, ZST, QCOW2 = (f"/images/{IMAGE}{form}" for form in (".raw", ".raw.zst", ".qcow2"))


def test_every_form_is_the_same_disk(client: Client, written: Written) -> None:
    disk = disk_bytes()

    assert client.ask(RAW).body == disk
    assert zstd.decompress(client.ask(ZST).body) == disk
    assert client.ask(f"/images/{IMAGE}.sha256").body == f"{sha256_of(disk)}  {IMAGE}.raw\n".encode()
    assert client.ask(f"/images/{IMAGE}/manifest").body == encode(written.manifest)


def test_random_ranges_are_those_of_a_file(store: Store, kind: str) -> None:
    """T15: suffix, past the end, nothing, several, If-Range, and headers that mean nothing."""
    delivery = delivery_of(store, FakeAuthorizer(content_of(write_disk(store, disk_bytes(8)))))
    client = Client(delivery)
    for seed, (path, whole) in enumerate((each, client.ask(each).body) for each in (RAW, ZST, QCOW2)):
        etag = client.ask(path, method="HEAD").headers["etag"]
        some = random.Random(seed)
        cases = [random_range(some, len(whole), etag) for _ in range(RANGES[kind] if path == RAW else RANGES[kind] // 8)]
        answers = client.ask_in_turn(path, [headers for headers, _ in cases])
        for (headers, wanted), answer in zip(cases, answers, strict=True):
            check_ranges(answer, whole, wanted, headers)
    delivery.close()


Wanted = list[tuple[int, int]] | None
"""The ranges that a client must get; None for the whole, none at all for 416."""


def random_range(some: random.Random, size: int, etag: str) -> tuple[dict[str, str], Wanted]:
    """The same ranges, written in two ways."""
    if some.random() < 0.1:
        junk = ["bytes=9-5", "bytes=a-", "bytes=-", "bytes", "pages=1-2", "bytes=0-1,2", "bytes=1--2", "bytes=,"]
        return {"Range": some.choice(junk)}, None
    specs: list[str] = []
    wanted: list[tuple[int, int]] = []
    for _ in range(some.choice([1, 1, 1, 1, 2, 3, 7])):
        start = some.choice([0, some.randrange(size), some.randrange(0, size, CHUNK), size - 1, size, size + 9])
        length = some.choice([1, 2, 511, 512, CHUNK, CHUNK + 1, some.randrange(1, size), size, size + 5])
        spec, found = some.choice(
            [
                (f"{start}-{start + length - 1}", (start, min(size, start + length))),
                (f"{start}-", (start, size)),
                (f"-{length}", (max(0, size - length), size)),
                ("-0", (size, size)),
            ]
        )
        specs.append(spec)
        if found[0] < found[1]:
            wanted.append(found)
    headers = {"Range": f"bytes={some.choice([',', ', ', ' ,,']).join(specs)}"}
    if len(wanted) > 1 and sum(stop - start for start, stop in wanted) > size:
        return headers, None
    match some.randrange(8):
        case 0:
            return {**headers, "If-Range": etag}, wanted
        case 1:
            return {**headers, "If-Range": '"something else"'}, None
        case 2:
            return {**headers, "If-Range": http_date(PUBLISHED)}, wanted
        case 3:
            return {**headers, "If-Range": http_date(PUBLISHED - 60)}, None
    return headers, wanted


def check_ranges(answer: Answered, whole: bytes, wanted: Wanted, asked: object) -> None:
    assert answer.whole, asked
    assert answer.headers["content-length"] == str(len(answer.body)), asked
    if wanted is None:
        assert (answer.status, answer.body) == (200, whole), asked
    elif not wanted:
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(whole)}"), asked
    elif len(wanted) == 1:
        start, stop = wanted[0]
        assert answer.status == 206, asked
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}", asked
        assert answer.body == whole[start:stop], asked
    else:
        assert answer.status == 206, asked
        assert read_parts(answer) == [
            (f"bytes {start}-{stop - 1}/{len(whole)}", whole[start:stop]) for start, stop in wanted
        ], asked


def read_parts(answer: Answered) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges body: the Content-Range of each, and its bytes."""
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    line = f"--{boundary}".encode()
    first, *parts, end = (b"\r\n" + answer.body).split(b"\r\n" + line)
    assert (first, end) == (b"", b"--\r\n")
    found = []
    for part in parts:
        header, _, content = part.partition(b"\r\n\r\n")
        fields = dict(field.split(": ", 1) for field in header.decode().strip().split("\r\n"))
        found.append((fields["Content-Range"], content))
    return found


def test_head_is_get_without_its_body(client: Client) -> None:
    for path in [f"/images/{IMAGE}{form}" for form in FORMS] + ["/images/pimg-cs-other.raw", "/images/x"]:
        head, get = client.ask(path, method="HEAD"), client.ask(path)
        names = set(get.headers) - {"x-ucloud-request-uuid"}
        assert head.body == b""
        assert head.status == get.status
        assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}
        assert get.headers["content-length"] == str(len(get.body))


def test_a_browser_runs_nothing_of_a_response(client: Client) -> None:
    answers = [client.ask(f"/images/{IMAGE}{form}", method=method) for form in FORMS for method in ("GET", "HEAD", "PUT")]
    answers += [client.ask(RAW, fields) for fields in ({"Range": "bytes=0-9"}, {"Range": "bytes=0-1,5-6"}, {"If-Match": '"x"'})]
    answers += [client.ask(path) for path in ("/images/pimg-cs-other.raw", "/images/x")]

    assert {answer.status for answer in answers} == {200, 206, 404, 405, 412}
    for answer in answers:
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.ask(RAW).headers["content-disposition"] == f'attachment; filename="{IMAGE}.raw"'


def test_the_forms_have_different_entity_tags(client: Client) -> None:
    tags = {client.ask(f"/images/{IMAGE}{form}", method="HEAD").headers["etag"] for form in FORMS}

    assert len(tags) == len(FORMS)


def test_a_client_that_has_the_bytes_gets_not_modified(client: Client) -> None:
    for form in FORMS:
        etag = client.ask(f"/images/{IMAGE}{form}", method="HEAD").headers["etag"]
        answer = client.ask(f"/images/{IMAGE}{form}", {"If-None-Match": etag})
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert client.ask(RAW, {"If-Match": '"other"'}).status == 412


def test_a_range_of_a_head_request_is_ignored(client: Client) -> None:
    answer = client.ask(RAW, {"Range": "bytes=0-0"}, method="HEAD")

    assert (answer.status, answer.headers["content-length"]) == (200, str(len(disk_bytes())))


def test_a_flipped_bit_in_a_stored_chunk_is_never_sent(
    store: Store, written: Written, delivery: Delivery, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.ask(ZST)  # so that frames are measured already
    digest = chunk_at(written, 5)
    name = f"chunks/{digest[:2]}/{digest}"
    frame = bytearray(store.get(name))
    frame[len(frame) // 2] ^= 1
    store.put(name, bytes(frame))
    disk = disk_bytes()

    for path, before in [(RAW, disk[: 5 * CHUNK]), (ZST, None), (QCOW2, None)]:
        answer = client.ask(path)
        if path == ZST:
            assert answer.status == 500  # its first piece has all frames of so small a disk
        else:
            assert (answer.status, answer.whole) == (200, False)
            assert len(answer.body) < int(answer.headers["content-length"])
        if before is not None:
            assert answer.body == before
        bad = next(entry for entry in logged(capsys) if entry["event"] == "chunk.bad")
        assert (bad["image"], bad["manifest"]) == (IMAGE, written.digest)
        assert (bad["chunk"], bad["index"], bad["offset"]) == (digest, 5, 5 * CHUNK)
    assert delivery.counters.bad_chunks == 3

    answer = client.ask(RAW, {"Range": f"bytes={5 * CHUNK + 9}-{5 * CHUNK + 9}"})
    body = msgspec.json.decode(answer.body)
    assert answer.status == 500
    assert (body["ImageId"], body["Chunk"], body["Index"], body["Offset"]) == (IMAGE, digest, 5, 5 * CHUNK)
    assert client.ask(RAW, {"Range": f"bytes=0-{5 * CHUNK - 1}"}).body == disk[: 5 * CHUNK]


def test_a_missing_chunk_is_named(store: Store, written: Written, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    digest = chunk_at(written, 5)
    store.delete(f"chunks/{digest[:2]}/{digest}")

    answer = client.ask(RAW, {"Range": f"bytes={5 * CHUNK}-"})
    assert (answer.status, msgspec.json.decode(answer.body)["Chunk"]) == (500, digest)
    logged(capsys)
    assert client.ask(ZST).status == 500
    assert [entry["chunk"] for entry in logged(capsys) if entry["event"] == "chunk.bad"] == [digest]


def test_a_zstd_file_that_ends_at_a_missing_chunk_goes_on_from_there_once_the_chunk_is_back(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = random.Random(3).randbytes(40 * CHUNK)
    written = write_disk(store, disk)
    client = Client(delivery_of(store, FakeAuthorizer(content_of(written))))
    whole = client.ask(ZST)
    name = chunk_name(ChunkDigest(bytes.fromhex(chunk_at(written, 30))))
    frame = store.get(name)
    store.delete(name)
    logged(capsys)

    cut = client.ask(ZST)

    assert (cut.status, cut.whole, cut.headers["content-length"]) == (200, False, str(len(whole.body)))
    assert 0 < len(cut.body) < len(whole.body)
    assert whole.body.startswith(cut.body)
    [said] = [entry for entry in logged(capsys) if entry["event"] == "download.cut"]
    assert said["sent"] == len(cut.body)
    assert f"bytes={len(cut.body)}-" in said["resume"]
    assert chunk_at(written, 30) in said["reason"]
    rest = {"Range": f"bytes={len(cut.body)}-", "If-Range": cut.headers["etag"]}
    assert (client.ask(ZST, rest).status, logged(capsys)[0]["chunk"]) == (500, chunk_at(written, 30))
    store.put(name, frame)
    resumed = client.ask(ZST, rest)
    assert (resumed.status, resumed.whole) == (206, True)
    assert zstd.decompress(cut.body + resumed.body) == disk


def test_a_damaged_manifest_is_told(store: Store, written: Written, client: Client) -> None:
    store.put(manifest_name(written.digest), encode(written.manifest) + b" ")

    answer = client.ask(RAW)
    assert (answer.status, msgspec.json.decode(answer.body)["Manifest"]) == (500, written.digest)


def test_a_chunk_that_was_put_anew_ends_a_zstd_file_but_not_the_next(
    store: Store, written: Written, authorizer: FakeAuthorizer
) -> None:
    """As after a scrub that put a damaged chunk aside: another level makes another frame. Removing its list takes a while."""
    delivery = delivery_of(at_call(store, lambda operation, _: operation == "delete", lambda: time.sleep(0.2)), authorizer)
    client = Client(delivery)
    before = client.ask(ZST)
    digest = chunk_at(written, 6)  # repeats itself, so that levels differ
    name = chunk_name(ChunkDigest(bytes.fromhex(digest)))
    raw = disk_bytes()[6 * CHUNK : 7 * CHUNK]
    frames = {len(frame): frame for level in (-7, 1, 9, 19) if len(frame := pack(raw, level)) != len(store.get(name))}
    store.put(name, frames.popitem()[1])

    assert client.ask(ZST).status == 503
    after = client.ask(ZST)
    assert zstd.decompress(after.body) == disk_bytes()
    assert after.headers["etag"] != before.headers["etag"]
    delivery.close()
