from __future__ import annotations

import json

import pytest

from phimage.agent.errors import ImageMismatch, ImageUnavailable, OrderGone, TicketExpired
from phimage.agent.image_source import ImageUrls, ServedImage, image_urls
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


def test_frames_of_a_bomb_or_of_other_chunks_are_refused(server: MemoryServer) -> None:
    server.frames[1] = server.frames[0]
    with pytest.raises(ImageUnavailable, match=f"the chunk at byte {MIB} of the image arrived damaged 4 times"):
        read_all(server.source())


def test_a_list_of_frames_that_is_not_the_images_is_refused(server: MemoryServer) -> None:
    server.frames.pop()
    with pytest.raises(ImageMismatch, match="list of frames cannot be read"):
        read_all(server.source())
