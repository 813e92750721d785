"""Requests are the same however their bytes arrive, whatever is kept of earlier ones, and whenever the client reads.

Random requests, some of them several times, are sent one after the other to a connection that keeps nothing, and then in random
pieces, with pauses and slow reads between them, to connections that share what they keep. The responses must be the same.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from random import Random
from typing import Any

import pytest

from phimage.http.asgi import KnownResponse, Message, Receive, Send, no_known_response
from phimage.http.counters import ConnectionCounters
from phimage.processes.connections import ConnectionLimits, Connections
from phimage.processes.http1 import HttpConnection

ADDRESS = "192.0.2.1"
TURNS = 200
"""Turns of the event loop in which nothing happens any more; an application here needs fewer than ten."""
NOT_REQUESTS = (
    b"\0\r\n\r\n",
    b"POST /bad HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
)
BODIES = (b"", b"known", b"GET / HTTP/1.1\r\n\r\n", b"\xff\r\n" * 40, b"long" * 20_000)


class Memory(asyncio.Transport):
    """A transport in memory: what is written waits until `read`."""

    def __init__(self, connection: HttpConnection, high: int, *, is_encrypted: bool) -> None:
        super().__init__()
        self.received = bytearray()
        self.is_paused = self.is_ended = False
        self._connection = connection
        self._high = high
        self._is_encrypted = is_encrypted
        self._unread = bytearray()
        self._is_closing = self._is_behind = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return len(self._unread)

    def is_closing(self) -> bool:
        return self._is_closing

    def can_write_eof(self) -> bool:
        return not self._is_encrypted

    def write_eof(self) -> None:
        self.is_ended = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._unread += data
        if len(self._unread) > self._high and not self._is_behind:
            self._is_behind = True
            self._connection.pause_writing()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self._is_closing = self.is_ended = True

    def abort(self) -> None:
        self.close()

    def read(self, size: int) -> bool:
        """Read as a client does. Returns whether there was anything to read."""
        found = self._unread[:size]
        del self._unread[:size]
        self.received += found
        if self._is_behind and len(self._unread) < self._high / 2:
            self._is_behind = False
            self._connection.resume_writing()
        return bool(found)


def content(scope: Message, body: bytes) -> bytes:
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], b"%d" % len(body), body[:20])
    return b"|".join(parts) + b"." * (30_000 if b"large" in scope["query_string"] else 0)


async def application(scope: Message, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
        await asyncio.sleep(0)
    found = content(scope, body)
    is_whole = b"parts" not in scope["query_string"]
    length = [(b"content-length", b"%d" % len(found))] if is_whole else []
    await send({"type": "http.response.start", "status": 200, "headers": length})
    for start in () if is_whole else range(0, len(found), 7000):
        await send({"type": "http.response.body", "body": found[start : start + 7000], "more_body": True})
    await send({"type": "http.response.body", "body": found if is_whole else b""})


def knowing(chance: Random) -> Any:
    """Has some of the responses ready, of those that are sent whole."""

    def known_response(scope: Message, body: bytes) -> KnownResponse | None:
        if scope["method"] not in ("GET", "POST") or b"parts" in scope["query_string"] or chance.random() < 0.2:
            return None
        found = content(scope, body)
        return KnownResponse(b"content-length: %d\r\n" % len(found), found)

    return known_response


def request(chance: Random, last: bytes = b"") -> bytes:
    """Any request. `last` are header fields."""
    method = chance.choice((b"GET", b"POST", b"POST", b"HEAD", b"PUT"))
    path = chance.choice((b"/", b"/a", b"/%61", b"http://host/a"))
    target = path + chance.choice((b"", b"?x", b"?large", b"?parts", b"?large&parts"))
    fields, body = [b"Host: host"], b""
    if method in (b"POST", b"PUT"):
        body = chance.choice(BODIES)
        if chance.random() < 0.3:
            size = chance.randrange(1, 50_000)
            chunks = [body[start : start + size] for start in range(0, len(body), size)]
            fields.append(b"Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
        else:
            fields.append(b"Content-Length: %d" % len(body))
        if chance.random() < 0.2:
            fields.append(b"Expect: 100-continue")
    if not last and chance.random() < 0.15:
        last = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"
    lines = b"%b %b HTTP/1.1\r\n" % (method, target) + b"".join(field + b"\r\n" for field in fields) + last
    return (b"\r\n" if chance.random() < 0.1 else b"") + lines + b"\r\n" + body


async def talk(connections: Connections, pieces: list[bytes], known_responses: Any, chance: Random | None) -> bytes:
    """What a client receives that sends these pieces. Without `chance` it reads at once, and waits after each piece."""
    assert connections.admit(ADDRESS)
    connection = HttpConnection(application, connections, (ADDRESS, 5), known_responses)
    high, is_encrypted = (chance.choice((1_000, 20_000, 65_536)), chance.random() < 0.3) if chance else (65_536, False)
    transport = Memory(connection, high, is_encrypted=is_encrypted)
    connection.connection_made(transport)
    left, quiet = pieces[::-1], 0
    while quiet < TURNS:
        if (
            left
            and not (transport.is_paused or transport.is_ended)
            and (quiet > TURNS / 2 or (chance and chance.random() < 0.4))
        ):
            connection.data_received(left.pop())
            quiet = 0
        if (not chance or chance.random() < 0.3) and transport.read(chance.choice((10, 5_000, 100_000)) if chance else 1 << 20):
            quiet = 0
        await asyncio.sleep(0)
        quiet += 1
    connection.connection_lost(None)
    assert transport.is_ended or not left, "the connection is read no more"
    answer = re.sub(rb"date: [^\r]+\r\n", b"", transport.received)
    return answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")  # only who has sent no body yet gets it


@pytest.mark.parametrize("bad", NOT_REQUESTS)
def test_a_request_that_goes_wrong_behind_another_is_refused_at_once(bad: bytes) -> None:
    connections = Connections(ConnectionLimits(), ConnectionCounters(), lambda address: False)
    answer = asyncio.run(talk(connections, [b"GET / HTTP/1.1\r\n\r\n" + bad], no_known_response, None))
    assert answer.endswith(b"GET|/||0|HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def in_pieces(chance: Random, texts: list[bytes]) -> list[bytes]:
    """The same bytes in other pieces: cut at their borders, or anywhere."""
    whole = b"".join(texts)
    borders = list(itertools.accumulate(map(len, texts)))
    places = borders if chance.random() < 0.5 else range(len(whole))
    cuts = sorted({0, len(whole), *chance.sample(places, min(len(places), chance.choice((0, 1, 2, 5, 20))))})
    return [whole[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("seed", range(8))
def test_responses_do_not_depend_on_pieces_or_on_what_is_kept_or_on_slow_reads(seed: int) -> None:
    chance = Random(seed)

    async def compare() -> None:
        keeping = Connections(ConnectionLimits(), ConnectionCounters(), lambda address: False)
        for _ in range(12):
            some = [request(chance) for _ in range(chance.randint(1, 3))]
            texts = [chance.choice(some) for _ in range(chance.randint(1, 6))]
            texts.append(chance.choice((request(chance, b"Connection: close\r\n"), request(chance), *NOT_REQUESTS)))
            nothing_kept = Connections(ConnectionLimits(), ConnectionCounters(), lambda address: False)
            expected = await talk(nothing_kept, texts, no_known_response, None)
            for _ in range(3):
                pieces = in_pieces(chance, texts)
                assert await talk(keeping, pieces, knowing(chance), chance) == expected, (texts, pieces)
        assert keeping.open == 0

    asyncio.run(compare())
