"""HTTP/1.1 as the server speaks it, and what it does with clients that send slowly, do not read, or are too many."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from phimage.http.asgi import Message, Receive, Send
from phimage.http.counters import ConnectionCounters
from phimage.processes.connections import ConnectionLimits
from phimage.processes.request_parser import MAX_HEADER_BYTES, MAX_HEADER_FIELDS
from tests.serving import serving
from tests.unit.sources.tls import Authority

WAIT_SECONDS = 60.0


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answers with what it was sent: method, path, query and body, in however many messages the body arrived."""
    body = bytearray()
    more_body = True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more_body = message["more_body"]
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], body)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"|".join(parts)})


def answering(status: int, headers: list[tuple[bytes, bytes]], *bodies: bytes | memoryview) -> Any:
    """An application with a fixed response. It does not read the request."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    return app


def connect(port: int, receives: int = 0) -> socket.socket:
    """`receives`: how many bytes the system of the client takes before it reads; 0 for what this system takes by itself."""
    client = socket.socket()
    try:
        if receives:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        client.settimeout(WAIT_SECONDS)
        client.connect(("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    return client


def until_closed(client: socket.socket) -> bytes:
    found = bytearray()
    while part := client.recv(1 << 20):
        found += part
    return bytes(found)


def talk(port: int, *texts: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    with connect(port) as client:
        for text in texts:
            client.sendall(text)
            time.sleep(0.02)
        return until_closed(client)


def one_answer(client: socket.socket) -> bytes:
    """One response with a length, in however many pieces it arrives."""
    found, left = b"", 1
    while left > 0:
        part = client.recv(1000)
        assert part, found
        found += part
        head, ended, body = found.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if ended:
            assert length is not None, head
            left = int(length[1]) - len(body)
    return found


def bodies(answer: bytes) -> list[bytes]:
    """The bodies of responses with a length each."""
    found = []
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        found.append(rest[: int(length[1])])
        answer = rest[int(length[1]) :]
    return found


LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_requests_are_read_however_their_bytes_arrive() -> None:
    text = b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + LAST
    expected = [b"POST|/a b|c=d|hello", b"GET|/last||"]
    with serving(echo) as port:
        assert bodies(talk(port, text)) == expected
        assert bodies(talk(port, text[:9], text[9:40], text[40:70], text[70:])) == expected
        with connect(port) as client:
            for byte in text:
                client.sendall(bytes([byte]))
            assert bodies(until_closed(client)) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", b"GET|/||"),
        (b"//", b"GET|//||"),
        (b"/a?b#c", b"GET|/a|b|"),
        (b"http://other.example/a?b", b"GET|/a|b|"),
        (b"http://other.example", b"GET|/||"),
        (b"/%E9%95%9C?%E5", "GET|/镜|%E5|".encode()),
        ("/镜?像".encode(), "GET|/镜|%E5%83%8F|".encode()),
    ],
)
def test_request_targets(target: bytes, expected: bytes) -> None:
    with serving(echo) as port:
        assert bodies(talk(port, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == [expected]


def test_an_offer_of_another_protocol_is_not_taken_and_the_request_is_answered() -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    get = b"GET /a HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n"
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + offer + b"\r\nhi"
    with serving(echo) as port:
        assert bodies(talk(port, get + post + LAST)) == [b"GET|/a||", b"POST|/b||hi", b"GET|/last||"]


def test_chunked_bodies_and_what_follows_them() -> None:
    text = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;extension=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: ignored\r\n\r\n"
    )
    with serving(echo) as port:
        assert bodies(talk(port, text + LAST)) == [b"POST|/||abcde", b"GET|/last||"]


@pytest.mark.parametrize(
    "text",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    ],
)
def test_what_is_not_a_request_is_refused_and_the_connection_ends(text: bytes) -> None:
    with serving(echo) as port:
        assert talk(port, text + LAST).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "text",
    [
        b"GET /" + b"a" * MAX_HEADER_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * MAX_HEADER_BYTES,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEADER_FIELDS + 1) + b"\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: " + b"a" * 2 * MAX_HEADER_BYTES,
    ],
    ids=["target", "field", "fields", "trailer"],
)
def test_a_header_that_is_too_large_is_refused(text: bytes) -> None:
    with serving(echo) as port, connect(port) as client:
        for at in range(0, len(text), 1 << 14):
            client.sendall(text[at : at + (1 << 14)])
        assert one_answer(client).startswith(b"HTTP/1.1 431 ")


def test_responses_are_framed_for_their_client() -> None:
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(answering(200, [], b"one", b"two")) as port:
        chunked = talk(port, get + LAST)
        assert chunked.count(b"transfer-encoding: chunked\r\n") == 2
        assert chunked.count(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") == 2
        old = talk(port, b"GET / HTTP/1.0\r\n\r\n")
        assert old.endswith(b"connection: close\r\n\r\nonetwo")
    with serving(answering(200, [(b"content-length", b"3")], b"one")) as port:
        assert talk(port, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\n")
        kept = talk(port, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + b"GET / HTTP/1.0\r\n\r\n")
        assert (kept.count(b"one"), kept.count(b"connection: keep-alive"), kept.count(b"connection: close")) == (2, 1, 1)
    with serving(answering(304, [(b"etag", b'"x"')], b"")) as port:
        assert b"content-length" not in talk(port, LAST)


def test_a_response_that_is_shorter_than_it_says_ends_its_connection() -> None:
    with serving(answering(200, [(b"content-length", b"9")], b"short")) as port:
        assert talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\nshort")


def test_a_defect_is_answered_500_and_a_line_break_in_a_header_is_one() -> None:
    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        raise ValueError("a defect")

    for app in (broken, answering(200, [(b"x", b"a\r\nSet-Cookie: b")], b"")):
        with serving(app) as port:
            answer = talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert b"Set-Cookie" not in answer


def test_a_body_that_nobody_reads_does_not_cost_its_client_the_response() -> None:
    with serving(answering(403, [], b"no")) as port, connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        sent = 0
        try:
            while sent < 8 << 20:
                sent += client.send(bytes(1 << 16))
        except (BrokenPipeError, ConnectionResetError):  # the server has read enough
            pass
        answer = one_answer(client)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"connection: close\r\n" in answer


def test_a_body_is_read_only_as_fast_as_it_is_received() -> None:
    release = threading.Event()

    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().run_in_executor(None, release.wait)
        await echo(scope, receive, send)

    size = 64 << 20
    with serving(slow) as port, connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
        client.setblocking(False)
        sent, quiet = 0, 0
        while quiet < 20:
            try:
                sent += client.send(bytes(1 << 20))
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.02)
        assert sent < size, "the rest waits in the client"
        release.set()
        client.settimeout(WAIT_SECONDS)
        client.sendall(bytes(size - sent))
        assert bodies(until_closed(client))[0].count(0) == size


def sending(content: bytes) -> Any:
    """Sends a body in views of one object, as downloads do."""
    pieces: list[bytes | memoryview] = [memoryview(content)[at : at + (1 << 20)] for at in range(0, len(content), 1 << 20)]
    return answering(200, [(b"content-length", b"%d" % len(content))], *(pieces or [b""]))


@pytest.mark.parametrize("size", [0, 1, 1000, 5_000_000, 40_000_000])
def test_a_large_body_is_sent_whole_and_the_connection_goes_on(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(sending(content)) as port:
        assert bodies(talk(port, get + get + LAST)) == [content] * 3


def test_a_client_that_leaves_a_large_body_harms_nobody() -> None:
    counters = ConnectionCounters()
    with serving(sending(bytes(40 << 20)), counters=counters) as port:
        for _ in range(10):
            with connect(port) as client:
                client.sendall(LAST)
                assert client.recv(1000)
        assert len(bodies(talk(port, LAST))[0]) == 40 << 20
        until(lambda: counters.open == 0)


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.02)


SOON = ConnectionLimits(header=0.5, idle=0.5, stall=0.5)


def test_a_header_must_come_in_time() -> None:
    counters = ConnectionCounters()
    with serving(echo, SOON, counters=counters) as port:
        assert talk(port) == b""
        assert talk(port, b"GET / HT").startswith(b"HTTP/1.1 408 ")
        assert counters.ended["header"] == 2
        with connect(port) as client:  # a byte now and then does not help
            client.sendall(b"GET / HTTP/1.1\r\nA: ")
            while counters.ended["header"] < 3:
                client.sendall(b"a")
                time.sleep(0.05)
            assert one_answer(client).startswith(b"HTTP/1.1 408 ")


def test_the_header_of_a_later_request_must_come_in_time_too() -> None:
    with serving(echo, ConnectionLimits(header=1, idle=60)) as port, connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one_answer(client).startswith(b"HTTP/1.1 200 ")
        time.sleep(1.5)
        client.sendall(b"GET / HTTP")
        assert until_closed(client).startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_and_one_in_use_is_not() -> None:
    counters = ConnectionCounters()
    with serving(echo, ConnectionLimits(header=60, idle=2), counters=counters) as port, connect(port) as client:
        for _ in range(10):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one_answer(client).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.25)
        assert client.recv(1000) == b""
        assert counters.ended["idle"] == 1


def test_a_client_that_does_not_read_is_given_up() -> None:
    counters = ConnectionCounters()
    with serving(answering(200, [], *[bytes(1 << 20)] * 64), SOON, counters=counters) as port, connect(port) as client:
        client.sendall(LAST)
        until(lambda: counters.ended["stalled"] == 1)
        until(lambda: counters.open == 0)


def test_a_client_that_reads_slowly_gets_everything() -> None:
    with serving(sending(bytes(24 << 20)), ConnectionLimits(stall=1.0)) as port, connect(port, receives=1 << 16) as client:
        client.sendall(LAST)
        found = b""
        while len(found) < 2 << 20:
            found += client.recv(1 << 18)
            time.sleep(0.1)
        assert len(bodies(found + until_closed(client))[0]) == 24 << 20


def refused(client: socket.socket) -> bool:
    try:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(1000) == b""
    except ConnectionError:
        return True


def test_a_client_may_have_only_so_many_connections() -> None:
    counters = ConnectionCounters()
    limits = ConnectionLimits(per_address=3)
    with serving(echo, limits, counters=counters, is_exempt=lambda _: False) as port, ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(5)]
        until(lambda: counters.ended["address"] == 2)
        assert [refused(client) for client in clients].count(True) == 2
        clients[0].close()
        until(lambda: counters.open == 2)
        assert not refused(stack.enter_context(connect(port)))
    with serving(echo, limits) as port, ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(9)]
        assert not any(refused(client) for client in clients), "loopback may have any number"


def test_with_too_many_connections_the_oldest_idle_one_is_closed() -> None:
    with serving(echo, ConnectionLimits(connections=3)) as port, ExitStack() as stack:
        clients = []
        for _ in range(4):
            clients.append(stack.enter_context(connect(port)))
            clients[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one_answer(clients[-1]).startswith(b"HTTP/1.1 200 ")
        assert clients[0].recv(1000) == b""
        assert not any(refused(client) for client in clients[1:])


def test_a_closed_connection_makes_room_at_once_although_its_client_does_not_end_its_tls() -> None:
    authority, counters = Authority(), ConnectionCounters()
    tls = authority.server("127.0.0.1")
    with serving(echo, ConnectionLimits(connections=3), tls=tls, counters=counters) as port, ExitStack() as stack:
        for _ in range(9):
            plain = stack.enter_context(connect(port))
            client = stack.enter_context(authority.client().wrap_socket(plain, server_hostname="127.0.0.1"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert counters.open <= 4  # the last one that was closed may not have ended yet


def test_a_stopping_server_answers_what_was_requested() -> None:
    asked, release = threading.Event(), threading.Event()

    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        asked.set()
        await asyncio.get_running_loop().run_in_executor(None, release.wait)
        await echo(scope, receive, send)

    with ExitStack() as clients:
        stopping: AbstractContextManager[int] = serving(slow)
        port = stopping.__enter__()
        idle, busy = clients.enter_context(connect(port)), clients.enter_context(connect(port))
        busy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(WAIT_SECONDS)
        ending = threading.Thread(target=lambda: stopping.__exit__(None, None, None))
        ending.start()
        assert idle.recv(1000) == b""
        release.set()
        answer = until_closed(busy)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer
        ending.join()
