from __future__ import annotations

import json
import re

import pytest

from phimage.agent.errors import ImageMismatch, ImageUnavailable, OrderGone, TicketExpired
from phimage.agent.image_source import MAX_BATCH_BYTES, ImageUrls, ServedImage, image_urls
from phimage.http_client import NoResponse, ServerResponse
from tests.deploying import MIB, gpt_image
from tests.unit.agent.memory import URL, MemoryServer

IMAGE = gpt_image(4 * MIB)


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer(IMAGE, MIB)


def error(status: int) -> ServerResponse:
    return ServerResponse(status, {}, json.dumps({"Message": "Away", "Detail": "come again"}).encode())


def read_all(source: ServedImage) -> dict[int, bytes]:
    chunks = source.chunks("")
    return {
        chunks.offset(place): raw
        for batch in source.batches(chunks, iter(range(len(chunks))))
        for place, raw in source.read(chunks, batch)
    }


def test_urls_of_all_forms_follow_from_any() -> None:
    expected = ImageUrls(
        "https://h/images/pimg-1/manifest?Ticket=1",
        "https://h/images/pimg-1/frames?Ticket=1",
        "https://h/images/pimg-1.raw.zst?Ticket=1",
    )
    for form in (".raw", ".raw.zst", ".qcow2", ".sha256", "/manifest", "/frames"):
        assert image_urls(f"https://h/images/pimg-1{form}?Ticket=1") == expected
    with pytest.raises(ImageMismatch, match="is not an image's URL"):
        image_urls("https://h/debian.raw?Ticket=1")


def test_frames_of_consecutive_chunks_are_fetched_together(server: MemoryServer) -> None:
    read = read_all(server.source())
    assert {offset: IMAGE[offset : offset + MIB] for offset in read} == read
    assert sum("zst" in request for request in server.requests) == 1


def test_another_manifest_than_the_expected_one_is_refused(server: MemoryServer) -> None:
    with pytest.raises(ImageMismatch, match="not the expected"):
        server.source().chunks("0" * 64)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "phimage-disk-2"},
        {"size": 0},
        {"chunk_size": 1000},
        {"chunks": ["00" * 32]},
        {"chunks": ["zz"]},
        {"chunks": [0, 4]},
        {"chunks": None},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(server: MemoryServer, change: dict[str, object]) -> None:
    server.manifest = json.dumps({**json.loads(server.manifest), **change}).encode()
    with pytest.raises(ImageMismatch, match="cannot be read"):
        server.source().chunks("")


def test_a_server_that_is_away_for_a_while_is_waited_for(server: MemoryServer) -> None:
    def respond(number: int, response: ServerResponse) -> ServerResponse:
        if number in (1, 4):
            raise NoResponse("connection refused", "check that phimage runs there")
        return error(503) if number in (2, 6) else response

    server.respond = respond
    assert len(read_all(server.source())) == 3


def test_the_patience_begins_with_a_request_and_not_hours_before_it(server: MemoryServer) -> None:
    now = [0.0]
    source = ServedImage(image_urls(URL), server, lambda seconds: None, lambda: now[0], patience=10)
    chunks = source.chunks("")
    now[0] = 7200.0
    server.respond = lambda number, response: error(503) if number == 2 else response
    assert [place for place, _ in source.read(chunks, range(1))] == [0]


def test_a_server_that_stays_away_ends_the_deployment_with_its_reason(server: MemoryServer) -> None:
    server.respond = lambda number, response: error(503)
    with pytest.raises(ImageUnavailable, match=r"nothing for 10 s: HTTP 503: Away \(come again\)"):
        server.source().chunks("")


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410])
def test_a_refusal_is_not_repeated(server: MemoryServer, status: int) -> None:
    server.respond = lambda number, response: error(status)
    with pytest.raises(ImageUnavailable, match=f"HTTP {status}"):
        server.source().chunks("")
    assert len(server.requests) == 1


def test_the_reason_of_a_refusal_cannot_write_to_a_terminal(server: MemoryServer) -> None:
    body = json.dumps({"Message": "\x1b]0;owned\x07", "Detail": "x" * 1000}).encode()
    server.respond = lambda number, response: ServerResponse(404, {}, body)
    with pytest.raises(ImageUnavailable) as refused:
        server.source().chunks("")
    assert str(refused.value) == f"HTTP 404: ?]0;owned? ({'x' * 1000}"[:500]


def test_an_expired_ticket_is_renewed_once_for_all(server: MemoryServer) -> None:
    renewed: list[int] = []

    def renew() -> ImageUrls:
        renewed.append(1)
        return image_urls(URL.replace("Ticket=1", "Ticket=2"))

    server.respond = lambda number, response: response if "Ticket=2" in server.requests[-1] else error(401)
    with pytest.raises(TicketExpired):
        server.source().chunks("")
    source = ServedImage(image_urls(URL), server, lambda seconds: None, lambda: 0.0, patience=1, renew=renew)
    assert len(read_all(source)) == 3
    assert renewed == [1]


@pytest.mark.parametrize("status", [403, 409])
def test_an_order_that_is_refused_is_lost(server: MemoryServer, status: int) -> None:
    server.respond = lambda number, response: error(status)
    source = ServedImage(image_urls(URL), server, lambda seconds: None, lambda: 0.0, patience=1, renew=lambda: image_urls(URL))
    with pytest.raises(OrderGone):
        source.chunks("")


def test_other_bytes_than_the_range_are_not_taken_for_it(server: MemoryServer) -> None:
    def respond(number: int, response: ServerResponse) -> ServerResponse:
        whole = "zst" in server.requests[-1] and number < 5
        return ServerResponse(200, {}, response.body) if whole else response

    server.respond = respond
    assert len(read_all(server.source())) == 3


def test_another_list_of_frames_makes_no_request_of_more_than_the_first_one() -> None:
    """A list is not verified: one that comes after a damaged chunk may have the frames of a request gigabytes apart."""
    chunk, holes = 64 << 10, 64
    server = MemoryServer(b"a" * chunk + bytes(holes * chunk) + b"b" * chunk, chunk)
    first, *zeros, last = map(len, server.frames)
    far = {"format": "phimage-frames-1", "frames": [[1, first, ""], [holes, chunk, ""], [1, last, ""]]}

    def respond(number: int, response: ServerResponse) -> ServerResponse:
        lists = sum("/frames" in request for request in server.requests)
        if "/frames" in server.requests[-1] and lists == 2:
            return ServerResponse(200, {}, json.dumps(far).encode())
        return ServerResponse(206, response.headers, bytes(len(response.body))) if number == 3 else response

    server.respond = respond
    assert sorted(read_all(server.source())) == [0, (holes + 1) * chunk]
    asked = [re.search(r"bytes=(\d+)-(\d+)", request) for request in server.requests]
    assert max(int(found[2]) - int(found[1]) for found in asked if found) < MAX_BATCH_BYTES
    assert sum(zeros) < MAX_BATCH_BYTES


def test_frames_of_a_bomb_or_of_other_chunks_are_refused(server: MemoryServer) -> None:
    server.frames[1] = server.frames[0]
    with pytest.raises(ImageUnavailable, match=f"the chunk at byte {MIB} of the image arrived damaged 4 times"):
        read_all(server.source())


def test_a_list_of_frames_that_is_not_the_images_is_refused(server: MemoryServer) -> None:
    server.frames.pop()
    with pytest.raises(ImageMismatch, match="list of frames cannot be read"):
        read_all(server.source())
    nested = MemoryServer(IMAGE, MIB)
    nested.respond = lambda number, response: ServerResponse(200, {}, b"[" * 100_000) if number == 2 else response
    with pytest.raises(ImageMismatch, match="list of frames cannot be read"):
        read_all(nested.source())
