"""The HTTP edge of a real server: bodies of any size, connections of any kind, paths, headers."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest

from phimage import demo as demonstration
from tests.e2e import naive
from tests.e2e.process import Server

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Answered(NamedTuple):
    """A response: status, headers by their names in lower case, and the JSON in it."""

    status: int
    headers: dict[str, str]
    fields: dict[str, Any]


@pytest.fixture
def connection(demo: Server) -> Iterator[HTTPConnection]:
    """One connection, which says so if the server closes it."""
    connection = HTTPConnection(urlsplit(demo.url).netloc, timeout=60)
    connection.connect()
    connection.auto_open = False
    with closing(connection):
        yield connection


@pytest.fixture(scope="module")
def form(demo: Server) -> bytes:
    return signed(demo)


def signed(demo: Server, **parameters: str | int) -> bytes:
    """A signed list, as a form."""
    with demonstration.client(demo.url) as client:
        return urlencode(client.signed("DescribePHostImage", Region="cn-bj2", Zone="cn-bj2-02", **parameters)).encode()


def read(response: HTTPResponse) -> Answered:
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = response.read()
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Answered(response.status, headers, json.loads(body))


def ask(
    connection: HTTPConnection,
    body: Any,
    path: str = "/",
    headers: Mapping[str, str] = FORM,
    method: str = "POST",
    *,
    chunked: bool = False,
) -> Answered:
    connection.request(method, path, body=body, headers=dict(headers), encode_chunked=chunked)
    return read(connection.getresponse())


def in_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 30_000):
        yield body[start : start + 30_000]


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("size", [65 * 1024, 5 * 1024 * 1024], ids=["65KiB", "5MiB"])
def test_a_body_that_is_too_large_is_refused_and_the_connection_answers_the_next_request(
    connection: HTTPConnection, form: bytes, size: int, chunked: bool
) -> None:
    large = form + b"&Padding=" + b"x" * (size - len(form) - len("&Padding="))
    for _ in range(2):
        if chunked:
            refused = ask(connection, in_chunks(large), headers={**FORM, "Transfer-Encoding": "chunked"}, chunked=True)
        else:
            refused = ask(connection, large)
        assert refused.status == 200
        assert (refused.fields["RetCode"], refused.fields["Message"]) == (240, "Params [request] too large")
        assert UUID.fullmatch(refused.headers["x-ucloud-request-uuid"])
        answered = ask(connection, form)
        assert (answered.status, answered.fields["RetCode"]) == (200, 0)


def test_a_body_of_just_64_kib_is_read(connection: HTTPConnection, demo: Server) -> None:
    def padded(size: int) -> bytes:
        return signed(demo, Padding="x" * (size - len(signed(demo, Padding=""))))

    assert len(padded(65_536)) == 65_536
    assert ask(connection, padded(65_536)).fields["RetCode"] == 0
    assert ask(connection, padded(65_537)).fields["RetCode"] == 240


def test_a_body_in_chunks_is_read_like_any_other(connection: HTTPConnection, form: bytes) -> None:
    parts = (form[at : at + 7] for at in range(0, len(form), 7))
    answered = ask(connection, parts, headers={**FORM, "Transfer-Encoding": "chunked"}, chunked=True)
    assert (answered.status, answered.fields["RetCode"]) == (200, 0)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_answered_405_and_leave_the_connection_open(
    connection: HTTPConnection, form: bytes, method: str
) -> None:
    refused = ask(connection, form if method in ("PUT", "PATCH") else None, method=method)
    assert (refused.status, refused.headers["allow"]) == (405, "GET, POST")
    assert UUID.fullmatch(refused.headers["x-ucloud-request-uuid"])
    assert refused.fields["RetCode"] != 0
    assert ask(connection, form).fields["RetCode"] == 0


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/v1/cloud", "/v1/cloud/", "//", "/%E9%95%9C%E5%83%8F/", "/a/../b/", "/index.html"]
)
def test_any_base_path_answers_with_and_without_a_slash_at_its_end_and_never_redirects(
    connection: HTTPConnection, form: bytes, path: str
) -> None:
    posted = ask(connection, form, path)
    got = ask(connection, None, f"{path}?{form.decode()}", {}, "GET")
    for answered in (posted, got):
        assert (answered.status, answered.fields["RetCode"]) == (200, 0)
        assert "location" not in answered.headers


def test_every_answer_has_a_request_id_of_its_own_and_the_revision_that_it_reflects(
    connection: HTTPConnection, form: bytes
) -> None:
    answers = [
        ask(connection, form),
        ask(connection, form),
        ask(connection, None, f"/?{form.decode()}", {}, "GET"),
        ask(connection, form + b"0"),
        ask(connection, b""),
        ask(connection, b"{", headers={"Content-Type": "application/json"}),
        ask(connection, form, "/rev/nonsense/"),
        ask(connection, form, method="PUT"),
        ask(connection, None, "/healthz", {}, "GET"),
    ]
    ids = [answered.headers["x-ucloud-request-uuid"] for answered in answers]
    assert all(UUID.fullmatch(id) for id in ids)
    assert len(set(ids)) == len(ids)
    for answered in answers:
        assert answered.headers["content-type"].startswith("application/json")
    good, past = answers[0], ask(connection, form, "/rev/2/")
    assert int(good.headers["x-phimage-revision"]) > 2
    assert {answered.headers["x-phimage-revision"] for answered in answers[:3]} == {good.headers["x-phimage-revision"]}
    assert (past.headers["x-phimage-revision"], past.fields["RetCode"]) == ("2", 0)


@pytest.mark.parametrize(
    ("accept", "packed"),
    [
        (None, False),
        ("", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip", True),
        ("gzip, deflate", True),
        ("deflate;q=0.5, GZIP;q=0.7", True),
        ("gzip;q=0, identity", False),
        ("gzip; q=0.000", False),
    ],
)
def test_an_answer_is_packed_only_for_a_client_that_takes_it(
    connection: HTTPConnection, demo: Server, accept: str | None, packed: bool
) -> None:
    body = signed(demo, Limit=100)
    connection.putrequest("POST", "/", skip_accept_encoding=True)
    for name, value in {
        **FORM,
        "Content-Length": str(len(body)),
        **({} if accept is None else {"Accept-Encoding": accept}),
    }.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answered = read(connection.getresponse())
    assert ("content-encoding" in answered.headers) is packed
    assert len(answered.fields["ImageSet"]) == len(naive.listed())
    assert packed is (int(answered.headers["content-length"]) < 10_000)


Talk = Callable[[bytes], bytes]


@pytest.fixture
def talk(demo: Server) -> Talk:
    """Sends bytes on a connection of its own and gives all that comes back until the server closes it."""
    host, port = urlsplit(demo.url).netloc.split(":")

    def send(text: bytes) -> bytes:
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(text)
            found = b""
            while part := connection.recv(65536):
                found += part
            return found

    return send


def request(form: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST / HTTP/{version}", "Host: phimage", f"Content-Length: {len(form)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + form


def test_requests_that_come_all_at_once_are_answered_in_their_order(talk: Talk, demo: Server) -> None:
    ids = [row["ImageId"] for row in naive.listed()[:5]]
    forms = [signed(demo, **{"ImageId.0": id}) for id in ids]
    pipeline = b"".join(request(form) for form in forms[:-1]) + request(forms[-1], "Connection: close")
    answers = talk(pipeline).split(b"HTTP/1.1 200 OK\r\n")[1:]
    bodies = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    assert [[row["ImageId"] for row in body["ImageSet"]] for body in bodies] == [[id] for id in ids]


def test_a_connection_is_kept_or_closed_as_the_client_wants_it(talk: Talk, connection: HTTPConnection, form: bytes) -> None:
    for _ in range(50):
        assert ask(connection, form).fields["RetCode"] == 0
    closed = talk(request(form, "Connection: close"))
    assert closed.startswith(b"HTTP/1.1 200 OK\r\n")
    old = talk(request(form, version="1.0"))
    assert old.startswith((b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\n"))
    for answer in (closed, old):
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["RetCode"] == 0


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(demo: Server, form: bytes) -> None:
    host, port = urlsplit(demo.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head, _, body = request(form, "Expect: 100-continue", "Connection: close").partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        told = b""
        while not told.endswith(b"\r\n\r\n") and (part := connection.recv(1)):
            told += part
        assert told.startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        found = b""
        while part := connection.recv(65536):
            found += part
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "garbage", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_not_http_is_refused_and_harms_nobody(
    talk: Talk, connection: HTTPConnection, form: bytes, garbage: bytes
) -> None:
    assert b"200 OK" not in talk(garbage)
    assert ask(connection, form).fields["RetCode"] == 0


def test_a_client_that_goes_away_in_the_middle_harms_nobody(demo: Server, connection: HTTPConnection, form: bytes) -> None:
    host, port = urlsplit(demo.url).netloc.split(":")
    before = len(demo.errors)
    for text in (request(form)[:40], request(form)[:-5], request(form)):
        socket.create_connection((host, int(port))).close()
        with socket.create_connection((host, int(port)), timeout=60) as gone:
            gone.sendall(text)
    assert ask(connection, form).fields["RetCode"] == 0
    logged = [json.loads(line) for line in demo.errors[before:].splitlines()]
    assert not [event for event in logged if event["level"] != "info"]


def test_the_server_says_that_it_is_well(connection: HTTPConnection) -> None:
    answered = ask(connection, None, "/healthz", {}, "GET")
    assert (answered.status, answered.fields) == (200, {"status": "ok"})
