"""The connections of commands: kept for the next request, opened again after the server closed one, named when they fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import Any

import pytest

from phimage.errors import ClientError
from phimage.http_client import MIN_BYTES_A_SECOND, ApiConnections, InvalidAddress, NoResponse, PacedReader, parse_address

ANSWER = b"HTTP/1.1 200 OK\r\nX-Name: Value\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def answering(*requests_of_connections: int) -> Iterator[str]:
    """A server that answers so many requests on its first connection, closes it, and goes on with the next."""

    def serve() -> None:
        for count in requests_of_connections:
            connection, _ = listener.accept()
            with connection:
                for _ in range(max(1, count)):  # a request that nobody answers is read, or its sender could get EPIPE
                    received = b""
                    while not received.endswith(b"\r\n\r\nbody"):
                        received += connection.recv(4096)
                    if count:
                        connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(60)


def test_a_connection_is_used_again_and_one_that_the_server_closed_is_not() -> None:
    http = ApiConnections(60)
    with answering(2, 1) as url:
        address = parse_address(url)
        for _ in range(2):
            assert http.post(address, b"body", {}).headers["x-name"] == "Value"
        [idle] = http._idle.values()
        assert idle[0].sock.recv(1) == b""  # the server has closed it by now
        assert http.post(address, b"body", {}).body == b"{}"
    http.close()


def test_a_server_that_closes_without_a_response_is_named() -> None:
    with answering(0) as url, pytest.raises(NoResponse, match=r"closed|reset") as raised:
        ApiConnections(60).post(parse_address(url), b"body", {})
    assert raised.value.remedy == "check that phimage runs there"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX-Name: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"])
def test_a_server_that_sends_a_byte_now_and_then_holds_nobody(begin: bytes) -> None:
    left = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # until the client leaves
            connection.sendall(begin)
            ends = time.monotonic() + 60
            while not left.wait(0.01) and time.monotonic() < ends:
                connection.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        address = parse_address(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        with pytest.raises(NoResponse, match="timed out"):
            ApiConnections(0.2).request("GET", address, None, {}, 1_000_000)
        left.set()
        thread.join(60)


class SlowSocket(RawIOBase):
    """Sends `step` bytes at a time, after a pause of a second. The clock is its own."""

    def __init__(self, step: int, timeout: float) -> None:
        self.now, self.step, self.timeout = 0.0, step, timeout

    def gettimeout(self) -> float:
        return self.timeout

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds or 0.0

    def readinto(self, buffer: Any, /) -> int:
        self.now += min(1.0, self.timeout)
        if self.timeout < 1:
            raise TimeoutError
        return self.step


def test_a_slow_response_arrives_whole_and_a_slower_one_ends() -> None:
    slow = SlowSocket(MIN_BYTES_A_SECOND, 5.0)
    reader = PacedReader(slow, slow, lambda: slow.now)
    for _ in range(10_000):
        slow.now += 100  # of the reader, not of the peer
        assert reader.readinto(bytearray(MIN_BYTES_A_SECOND)) == MIN_BYTES_A_SECOND

    slower = SlowSocket(MIN_BYTES_A_SECOND // 2, 5.0)
    reader = PacedReader(slower, slower, lambda: slower.now)
    for _ in range(19):
        reader.readinto(bytearray(1))
    with pytest.raises(TimeoutError):
        reader.readinto(bytearray(1))
    assert slower.now == pytest.approx(20, abs=1)


@pytest.mark.parametrize(
    "length", [b"Content-Length: 9\r\n\r\n123456789", b"Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n"]
)
def test_an_answer_without_end_is_not_read_to_its_end(length: bytes) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + length)
            connection.recv(4096)
            connection.recv(4096)  # until the client leaves

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        http = ApiConnections(60, max_answer=8)
        with pytest.raises(NoResponse, match="more than 8 bytes"):
            http.post(parse_address(f"http://127.0.0.1:{listener.getsockname()[1]}/"), b"body", {})
        thread.join(60)


def test_a_file_of_certificates_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"nothing\.pem: No such file or directory; give a file of certificates in PEM"):
        ApiConnections(10, str(tmp_path / "nothing.pem"))
    file = tmp_path / "text.pem"
    file.write_text("no certificate")
    with pytest.raises(ClientError, match=r"text\.pem has no certificates: expected some in PEM"):
        ApiConnections(10, str(file))


def test_what_is_sent_is_what_was_parsed() -> None:
    address = parse_address("https://Example.com:8443/镜像/%20?Action=A b")

    assert (address.secure, address.host, address.port) == (True, "example.com", 8443)
    assert address.target == "/%E9%95%9C%E5%83%8F/%20?Action=A%20b"


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:8080/", True),
        ("http://127.9.9.9/", True),
        ("http://localhost/", True),
        ("http://[::1]:8080/", True),
        ("https://images.example.com/", True),
        ("http://127.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://10.0.0.1/", False),
    ],
)
def test_plain_http_is_private_on_the_machine_itself_alone(url: str, private: bool) -> None:
    assert parse_address(url).is_private is private


@pytest.mark.parametrize(
    "url", ["http://", "ftp://a", "http://[::1", "http://a:b", "http://a b/", "http://..", "http://a:99999"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(url)
