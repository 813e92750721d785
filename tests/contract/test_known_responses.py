"""Responses that an application has ready are sent without a task, and requests are the same however they were parsed."""

from __future__ import annotations

import itertools
import random
import socket
from typing import Any

import pytest

from phimage.http.asgi import KnownResponse, Message, Receive, Send
from phimage.processes.request_parser import ParsedRequests
from tests.contract.test_http_server import bodies, connect, talk
from tests.serving import serving

END = b"GET /end HTTP/1.1\r\nConnection: close\r\n\r\n"


class Application:
    """Answers with what it was asked. It knows the responses to the bodies that begin with `known`."""

    def __init__(self) -> None:
        self.made: list[Message] = []
        self.known: list[Message] = []

    def known_response(self, scope: Message, body: bytes) -> KnownResponse | None:
        scope["seen"] = True
        if not body.startswith(b"known"):
            return None
        self.known.append(scope)
        content = b"%b|%b" % (scope["path"].encode(), body)
        return KnownResponse(b"content-length: %d\r\n" % len(content), content)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.made.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"made|%b|%b" % (scope["path"].encode(), body)})


def post(body: bytes, path: bytes = b"/", fields: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, fields, len(body), body)


@pytest.mark.parametrize(
    "texts",
    [
        [post(b"known 1"), post(b"other"), post(b"known 1"), post(b"known 1", b"/%61")],
        [post(b"known 1") + post(b"other") + post(b"known 1") + post(b"known 1", b"/%61")],
        [post(b"known 1")[:9], post(b"known 1")[9:] + post(b"other") + post(b"known 1")[:-1], b"1" + post(b"known 1", b"/%61")],
        [b"\r\n" + post(b"known 1"), b"\r\n", post(b"other"), b"\r\n" + post(b"known 1"), post(b"known 1", b"/%61")],
    ],
)
def test_known_and_made_responses_come_in_the_order_of_their_requests(texts: list[bytes]) -> None:
    app = Application()
    with serving(app, known_responses=app.known_response) as port:
        for _ in range(3):
            found = [body.removeprefix(b"made|") for body in bodies(talk(port, *texts, END))]
            assert found == [b"/|known 1", b"/|other", b"/|known 1", b"/a|known 1", b"/end|"]
    assert app.known


def test_the_same_bytes_are_another_request_where_they_are_not_at_its_beginning() -> None:
    app = Application()
    inner = post(b"known")
    with serving(app, known_responses=app.known_response) as port:
        assert bodies(talk(port, inner, inner, END))[:2] == [b"/|known"] * 2
        outer = b"POST /outer HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(inner)
        assert bodies(talk(port, outer, inner, END)) == [b"made|/outer|" + inner, b"made|/end|"]


def test_several_requests_in_one_piece_are_not_one_request_when_they_come_again() -> None:
    app = Application()
    text = post(b"known 1") + post(b"known 2")
    with serving(app, known_responses=app.known_response) as port:
        for _ in range(3):
            assert bodies(talk(port, text, text, END))[:4] == [b"/|known 1", b"/|known 2"] * 2


def test_requests_that_come_again_in_other_pieces_are_the_same_requests() -> None:
    app, chance = Application(), random.Random(7)
    texts = {body: post(body) for body in (b"known 1", b"known 2", b"other 3")}
    with serving(app, known_responses=app.known_response) as port:
        for _ in range(40):
            asked = chance.choices(list(texts), k=6)
            text = b"".join(texts[body] for body in asked)
            ends = [len(post(b"known 1")) * number for number in range(1, 6)]
            cuts = sorted({*chance.sample(ends, 2), chance.choice([*ends, chance.randrange(len(text))]), 0, len(text)})
            answer = talk(port, *(text[start:end] for start, end in itertools.pairwise(cuts)), END)
            assert [body.removeprefix(b"made|") for body in bodies(answer)] == [b"/|" + body for body in asked] + [b"/end|"]


def test_bytes_that_were_known_once_are_parsed_no_more_and_can_be_made() -> None:
    """A response may be forgotten while the request is not: the application gets the very scope, and the whole body."""
    app = Application()
    knows = True

    def known_response(scope: Message, body: bytes) -> KnownResponse | None:
        return app.known_response(scope, body) if knows else scope.update(seen=True)

    with serving(app, known_responses=known_response) as port:
        text = post(b"known", b"/a?b", b"Host: x\r\n")
        assert bodies(talk(port, text, text, END))[:2] == [b"/a|known"] * 2
        knows = False
        assert bodies(talk(port, text, END)) == [b"made|/a|known", b"made|/end|"]
    made, known = app.made[1], app.known[0]
    own = {"client", "extensions", "seen"}  # of its connection, and of its request
    assert made["seen"]
    assert {name: made[name] for name in made if name not in own} == {name: known[name] for name in known if name not in own}
    assert made["client"] != known["client"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nknown", b"made|/|known"),
        (post(b"known", fields=b"Connection: close\r\n"), b"/|known"),
    ],
)
def test_a_connection_ends_when_its_client_asks_for_it(text: bytes, expected: bytes) -> None:
    app = Application()
    with serving(app, known_responses=app.known_response) as port:
        for _ in range(2):
            answer = talk(port, text)
            assert (bodies(answer), b"connection: close" in answer) == ([expected], True)


def test_an_offer_of_another_protocol_is_never_remembered() -> None:
    app = Application()
    text = post(b"known", fields=b"Connection: Upgrade\r\nUpgrade: h2c\r\n")
    with serving(app, known_responses=app.known_response) as port:
        assert bodies(talk(port, text, text, END)) == [b"/|known"] * 2 + [b"made|/end|"]


@pytest.mark.parametrize("body", [b"known", b"other"])
def test_a_client_that_sends_requests_and_reads_nothing_is_not_answered_without_end(body: bytes) -> None:
    app = Application()
    text, count = post(body + b"x" * 20_000), 2000
    with serving(app, known_responses=app.known_response) as port, connect(port, receives=1 << 16) as client:
        client.settimeout(0.5)
        sent = _send(client, text, count)
        assert sent < count
        assert len(app.known) + len(app.made) < count / 2, "the responses wait in memory"

        client.settimeout(60)
        assert _read(client, sent) >= sent


def _send(client: socket.socket, text: bytes, count: int) -> int:
    """How many times a text could be sent."""
    for sent in range(count):
        try:
            client.sendall(text)
        except TimeoutError:
            return sent
    return count


def _read(client: socket.socket, count: int) -> int:
    """How many responses came before the connection ended, or as soon as they are as many as `count`."""
    status_line = b"HTTP/1.1 200 OK"
    found, end = 0, b""
    while found < count and (data := client.recv(1 << 20)):
        data = end + data
        found += data.count(status_line)
        end = data[-len(status_line) + 1 :]  # one read may end within a status line
    return found


def test_the_memory_of_parsed_requests_is_bounded() -> None:
    scope: dict[str, Any] = dict.fromkeys(("http_version", "method", "path", "raw_path", "query_string", "headers"), "")
    parsed = ParsedRequests(max_bytes=10_000)
    for number in range(10):
        parsed.put(b"%d" % number, scope, b"")
    assert [number for number in range(10) if parsed.get(b"%d" % number)] == [7, 8, 9]
