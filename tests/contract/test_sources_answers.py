"""Responses that are not an image: refused early, with their kind, within limits of size and time."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from phimage.errors import PhimageError
from phimage.sources.digest import FIRST_USE, ExpectedDigest
from phimage.sources.errors import ResponseRefused, SourceError, SourceInterrupted, TooLarge
from phimage.sources.response import HttpTimeouts
from phimage.sources.retry import Retry
from phimage.sources.sniff import HEAD, FetchLimits
from tests.unit.sources.fetching import DISK, MIB, RIGHT, Fetching, chunked
from tests.unit.sources.server import Exchange, FileServed, Server, wait_for
from tests.uploading import free_port


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


# judged


def page(body: bytes, kind: str = "", status: int = 200, fields: Mapping[str, str] | None = None) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.answer(status, body, {**({"Content-Type": kind} if kind else {}), **(fields or {})})


HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b"please " * 2000


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (page(HTML, "text/html; charset=utf-8"), "sends text/html; charset=utf-8, which is not an image"),
        (page(HTML), "it is an HTML page, not an image: <!DOCTYPE html><html>"),
        (page(HTML, "application/octet-stream"), "it is an HTML page"),
        (page(DISK, "TEXT/HTML"), "which is not an image"),
        (page(DISK, "application/json"), "which is not an image"),
        (page(DISK, "application/xml"), "which is not an image"),
        (page(DISK, "application/problem+json; charset=utf-8"), "which is not an image"),
        (page(DISK, "application/xhtml+xml"), "which is not an image"),
        (page(b'{"message": "not here"}' * 500, "application/octet-stream"), "it is a JSON message"),
        (page(b"<Error><Code>AccessDenied</Code></Error>" * 200), "it is an XML message"),
        (page(b"0" * 64 + b"  disk.img\n" + b"1" * 64 + b"  other.img\n" * 500), "it is a checksum file"),
        (page(DISK[:1024]), "1024 bytes are too small for an image"),
        (page(b""), "0 bytes are too small for an image"),
        (page(DISK, fields={"Content-Encoding": "gzip"}), "Content-Encoding: gzip"),
        (page(DISK, fields={"Content-Encoding": "br"}), "Content-Encoding: br"),
        (page(DISK, fields={"Transfer-Encoding": "gzip"}), "Transfer-Encoding: gzip"),
        (page(DISK, fields={"Transfer-Encoding": "gzip, chunked"}), "Transfer-Encoding: gzip, chunked"),
        (page(DISK, fields={"Content-Length": "5"}), "Content-Length"),
        (page(b"", status=204), "HTTP 204"),
        (page(DISK, status=203), "HTTP 203"),
        (page(HTML, "text/html", 400), "the server does not send a file (HTTP 400)"),
        (page(HTML, "text/html", 401), "requires credentials or denies access (HTTP 401); phimage sends no credentials"),
        (page(HTML, "text/html", 403), "requires credentials or denies access (HTTP 403)"),
        (page(HTML, "text/html", 404), "there is no such file (HTTP 404); check with curl"),
        (page(HTML, "text/html", 410), "there is no such file (HTTP 410)"),
        (page(b"", status=416), "HTTP 416"),
        (page(HTML, "text/html", 501), "HTTP 501"),
    ],
)
@pytest.mark.parametrize("expected", [FIRST_USE, RIGHT])
def test_what_is_no_image_is_refused_at_once_for_what_it_is(
    fetching: Fetching, handler: Callable[[Exchange], None], text: str, expected: ExpectedDigest
) -> None:
    with Server(handler) as server, pytest.raises(ResponseRefused) as refused:
        fetching.fetcher().fetch(server.url("/a?k=SECRET"), fetching.work, expected)
    assert text in str(refused.value)
    assert str(refused.value).startswith(f"http://127.0.0.1:{server.port}/a?k=***: ")
    assert refused.value.remedy
    assert len(server.requests) == 1
    assert fetching.waits == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again_with_growing_waits(fetching: Fetching, status: int) -> None:
    served = FileServed(DISK)
    failures = iter(range(3))

    def handler(exchange: Exchange) -> None:
        if next(failures, None) is None:
            served(exchange)
        else:
            exchange.answer(status, HTML, {"Content-Type": "text/html"})

    with Server(handler) as server:
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
    assert fetching.waits == [1, 2, 4]


def test_a_failure_that_does_not_pass_is_told_with_its_status(fetching: Fetching) -> None:
    with (
        Server(lambda exchange: exchange.answer(503, b"", {"Retry-After": "7"})) as server,
        pytest.raises(
            SourceInterrupted,
            match=r"cannot respond at the moment, 8 times in a row \(HTTP 503, at byte 0\); try again later",
        ),
    ):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
    assert fetching.waits == [7, 7, 7, 8, 16, 32, 60]


def test_a_failure_in_the_middle_keeps_what_came(fetching: Fetching) -> None:
    answers: Iterator[Callable[[Exchange], None]] = iter(
        [FileServed(DISK, cuts=[MIB]), page(b"", status=500), page(b"", status=404)]
    )
    with Server(lambda exchange: next(answers)(exchange)) as server:
        with pytest.raises(ResponseRefused, match=f"HTTP 404, at byte {MIB}"):
            fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
        assert fetching.record()["offset"] == MIB


def test_nobody_there_is_tried_again_and_told(fetching: Fetching) -> None:
    url = f"http://127.0.0.1:{free_port()}/disk.img"
    with pytest.raises(SourceInterrupted, match=r"127\.0\.0\.1 cannot be reached: Connection refused, 3 times in a row"):
        fetching.fetcher(retry=Retry(tries=3)).fetch(url, fetching.work, FIRST_USE)
    assert fetching.waits == [1, 2]


# early


class Unfit(PhimageError):
    pass


def test_the_first_mib_is_shown_before_the_rest_is_fetched(fetching: Fetching) -> None:
    seen: list[tuple[bytes, int | None]] = []

    def handler(exchange: Exchange) -> None:
        exchange.answer(200, DISK[: HEAD + 10], length=len(DISK))
        if wait_for(lambda: bool(seen)):
            exchange.send(DISK[HEAD + 10 :])

    with Server(handler) as server:
        fetching.fetcher().fetch(
            server.url(), fetching.work, FIRST_USE, head_check=lambda head, size: seen.append((head, size))
        )
    assert seen == [(DISK[:HEAD], len(DISK))]


def test_who_refuses_early_saves_the_rest_and_leaves_nothing(fetching: Fetching) -> None:
    def refuse(head: bytes, size: int | None) -> None:
        raise Unfit("this is a floppy disk")

    def handler(exchange: Exchange) -> None:
        exchange.answer(200, DISK[: HEAD + 10], length=len(DISK))
        exchange.hold()

    with Server(handler) as server, pytest.raises(Unfit):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE, head_check=refuse)
    assert fetching.left() == []


def test_the_beginning_is_shown_once_in_each_fetch_also_when_it_was_here_before(fetching: Fetching) -> None:
    seen: list[bytes] = []
    with Server(FileServed(DISK, cuts=[MIB + 1, MIB, 5])) as server:
        for tries in (1, 8, 8):
            try:
                fetching.fetcher(retry=Retry(tries=tries)).fetch(
                    server.url(), fetching.work, FIRST_USE, head_check=lambda head, size: seen.append(head)
                )
            except SourceInterrupted:
                continue
    assert seen == [DISK[:HEAD]] * 3


def test_a_small_file_is_shown_whole(fetching: Fetching) -> None:
    seen: list[tuple[bytes, int | None]] = []
    with Server(FileServed(DISK[:5000])) as server:
        fetching.fetcher().fetch(
            server.url(), fetching.work, FIRST_USE, head_check=lambda head, size: seen.append((head, size))
        )
    assert seen == [(DISK[:5000], 5000)]


# limits


def test_a_size_over_the_limit_is_refused_before_the_body(fetching: Fetching) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.answer(200, b"", length=10**12)
        exchange.hold()

    with Server(handler) as server, pytest.raises(TooLarge, match="1000000000000 bytes are more than the limit"):
        fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)


def test_a_size_that_does_not_fit_is_refused_before_the_body(fetching: Fetching) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.answer(200, b"", length=5 * MIB)
        exchange.hold()

    with Server(handler) as server, pytest.raises(TooLarge, match="5242880 more bytes do not fit") as refused:
        fetching.fetcher(limits=FetchLimits(min_free=MIB), free=lambda folder: 5 * MIB).fetch(
            server.url(), fetching.work, FIRST_USE
        )
    assert refused.value.reason == "space"


def test_what_is_here_already_needs_no_room(fetching: Fetching) -> None:
    free = iter([100 * MIB, len(DISK) - MIB])
    with Server(FileServed(DISK, cuts=[MIB])) as server:
        fetched = fetching.fetcher(free=lambda folder: next(free)).fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.size == len(DISK)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_endless_body_is_stopped_at_the_limit(fetching: Fetching, framing: str) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.answer(200, b"", {"Transfer-Encoding": "chunked"} if framing == "chunked" else {}, length=-1)
        block = DISK[:100_000]
        while True:
            exchange.send(chunked(block)[: -len(b"0\r\n\r\n")] if framing == "chunked" else block)

    with Server(handler) as server, pytest.raises(TooLarge, match="more than the limit of 5242880"):
        fetching.fetcher(limits=FetchLimits(max_size=5 * MIB, min_free=0)).fetch(server.url(), fetching.work, RIGHT)
    assert fetching.left() == []


def test_a_disk_that_fills_up_meanwhile_keeps_what_came(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= 2 * MIB:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, offset)

    with Server(FileServed(DISK)) as server:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(TooLarge, match="is full; free space there"):
                fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE)
        assert fetching.fetcher().fetch(server.url(), fetching.work, FIRST_USE).path.read_bytes() == DISK
    assert (server.requests[1].start or 0) >= 2 * MIB


# slow


SLOW = HttpTimeouts(connect=60, head=0.3, stall=0.3, min_size=1000)


def drips(*parts: bytes | int) -> Callable[[Exchange], None]:
    """A server that sends bytes at once and numbers byte by byte, without end."""

    def handler(exchange: Exchange) -> None:
        for each in parts:
            if isinstance(each, bytes):
                exchange.send(each)
            else:
                exchange.drip(b"1" * each)

    return handler


HEADER = b'HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\nETag: "one"\r\n\r\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "handler",
    [
        lambda exchange: exchange.hold(),
        drips(10**6),
        drips(b"HTTP/1.1 200 OK\r\nX: ", 10**6),
        drips(b"HTTP/1.1 100 Continue\r\nX: ", 10**6),
        lambda exchange: [exchange.drip(b"HTTP/1.1 100 C\r\n\r\n", 0.001) for _ in range(1000)],
        drips(HEADER, 10**6),
        drips(HEADER + DISK[:50_000], 10**6),
        drips(CHUNKED, 10**6),
        drips(CHUNKED + b"5;", 10**6),
        drips(CHUNKED + chunked(DISK[:50_000])[:-2] + b"X: ", 10**6),
        lambda exchange: [exchange.send(HEADER), exchange.hold()],
    ],
    ids=["silent", "status", "field", "continue", "continues", "body", "rest", "chunk", "extension", "trailer", "no-body"],
)
def test_a_slow_loris_is_cut_off_wherever_it_drips(fetching: Fetching, handler: Callable[[Exchange], None]) -> None:
    with (
        Server(handler) as server,
        pytest.raises(SourceInterrupted, match=r"fewer than 1000 bytes arrived in 0.3 s|no complete response header") as text,
    ):
        fetching.fetcher(timeouts=SLOW, retry=Retry(tries=1)).fetch(server.url(), fetching.work, FIRST_USE)
    assert text.value.reason == "stalled"


def test_slow_but_steady_is_not_stalled(fetching: Fetching) -> None:
    """It takes longer than the time of a stall, within which it sends twenty times what is wanted."""

    def handler(exchange: Exchange) -> None:
        exchange.answer(200, b"", length=12_500)
        for place in range(0, 12_500, 500):
            threading.Event().wait(0.05)
            exchange.send(DISK[place : place + 500])

    timeouts = HttpTimeouts(stall=1, min_size=500)
    with Server(handler) as server:
        fetched = fetching.fetcher(timeouts=timeouts, retry=Retry(tries=1)).fetch(server.url(), fetching.work, FIRST_USE)
    assert fetched.path.read_bytes() == DISK[:12_500]


def test_endless_fields_are_refused(fetching: Fetching) -> None:
    def handler(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            exchange.send(b"X: y\r\n" * 100)

    with Server(handler) as server, pytest.raises(SourceError, match="headers"):
        fetching.fetcher(retry=Retry(tries=1)).fetch(server.url(), fetching.work, FIRST_USE)


def test_a_checksum_file_is_fetched_as_text(fetching: Fetching) -> None:
    text = "0" * 64 + "  disk.img\n"
    answers: Iterator[Callable[[Exchange], None]] = iter([page(b"", status=503), page(text.encode(), "text/plain")])
    with Server(lambda exchange: next(answers)(exchange)) as server:
        assert fetching.fetcher().text(server.url("/SHA256SUMS")) == text
    assert fetching.waits == [1]


def test_a_cut_or_endless_checksum_file_is_refused(fetching: Fetching) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.answer(200, b"", length=-1)
        while True:
            exchange.send(b"0" * 100_000)

    with Server(endless) as server, pytest.raises(TooLarge, match="too large for a checksum file"):
        fetching.fetcher().text(server.url())
    with Server(FileServed(b"0" * 100, cuts=[50] * 9)) as server, pytest.raises(SourceInterrupted, match="closed early"):
        fetching.fetcher().text(server.url())
