"""The connections of commands: kept for the next request, opened again after the server closed one, named when they fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phimage.errors import ClientError
from phimage.http_client import ApiConnections, InvalidAddress, NoResponse, parse_address

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
