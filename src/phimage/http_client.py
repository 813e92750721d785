"""HTTP requests of commands to a phimage server, with the standard library alone."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from io import BufferedReader, RawIOBase
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from phimage.errors import ClientError

CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256 << 20
"""The largest body that is read without a limit of the caller's: lists of images with a large Limit."""
MIN_BYTES_A_SECOND = 4096
"""The slowest response: half of what a server demands of those who download, by default."""
_MAX_RECEIVED = 1 << 30
"""Of header, body and what frames it; twice the largest body."""
_AS_THEY_ARE = "/%:@!$&'()*+,;=~"
_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}")
"""The numbers of this machine; 127.example.com is a name that anybody may have."""

IdleConnections = dict[tuple[bool, str, int | None], deque[HTTPConnection]]
"""Connections without a request, by protocol, host and port."""


class InvalidAddress(Exception):
    """A text is no address of a server."""


class NoResponse(Exception):
    """A server did not respond. Has the reason, and what the caller can do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class HttpAddress:
    """The address of a request, in parts, as it is sent."""

    secure: bool
    host: str
    port: int | None
    path: str
    query: str

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def is_private(self) -> bool:
        """Whether nobody on a network can read or change the requests: HTTPS, or an address of this machine."""
        return self.secure or self.host in ("localhost", "::1") or _LOOPBACK.fullmatch(self.host) is not None


@dataclass(frozen=True)
class ServerResponse:
    """A whole response. The names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_address(url: str) -> HttpAddress:
    """Parse a URL with http or https. Raises InvalidAddress."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        raise InvalidAddress(url) from None
    if not host or parts.scheme not in ("http", "https") or any(character <= " " for character in host):
        raise InvalidAddress(url)
    path, query = quote(parts.path, safe=_AS_THEY_ARE), quote(parts.query, safe=_AS_THEY_ARE + "?")
    return HttpAddress(parts.scheme == "https", host, port, path or "/", query)


class ApiConnections:
    """Connections that are kept for further requests. Safe to use from several threads."""

    def __init__(self, timeout: float, ca_file: str = "", max_answer: int = MAX_ANSWER_BYTES) -> None:
        """`timeout`: the longest pause of a response, in seconds. `ca_file`: certificates to trust in place of the system's.

        `max_answer`: bytes of the largest body of a request that has no limit of its own.
        Raises ClientError if the file cannot be read or has no certificates.
        """
        self._timeout = timeout
        self._max_answer = max_answer
        self._tls = _trusting(ca_file) if ca_file else None
        self._idle: IdleConnections = {}
        weakref.finalize(self, _close, self._idle)  # for users that never close it

    def post(self, address: HttpAddress, body: bytes, headers: dict[str, str]) -> ServerResponse:
        """Send a POST and read the response. Raises NoResponse."""
        return self.request("POST", address, body, headers)

    def request(
        self, method: str, address: HttpAddress, body: bytes | None, headers: dict[str, str], max_bytes: int | None = None
    ) -> ServerResponse:
        """Send a request and read the response, of which at most `max_bytes` are read. Raises NoResponse.

        Without `max_bytes`, a body larger than `max_answer` is an error.
        """
        limit = self._max_answer + 1 if max_bytes is None else max_bytes
        idle = self._idle.setdefault((address.secure, address.host, address.port), deque())
        connection = _usable(idle)
        try:
            if connection is None:
                connection = self._connect(address)
            connection.sock.settimeout(self._timeout)
            connection.request(method, address.target, body, headers)
            response = connection.getresponse()
            data = response.read(limit)
            if response.length and len(data) < limit:
                raise IncompleteRead(data, response.length)
            if max_bytes is None and len(data) == limit:
                raise HTTPException(f"its answer has more than {self._max_answer} bytes")
        except (OSError, HTTPException) as error:
            if connection is not None:
                connection.close()
            raise NoResponse(_reason(error), _remedy(error)) from error
        if response.isclosed() and not response.will_close:
            idle.append(connection)
        else:
            connection.close()
        return ServerResponse(response.status, {name.lower(): value for name, value in response.getheaders()}, data)

    def close(self) -> None:
        """Close all connections that are not in use."""
        _close(self._idle)

    def _connect(self, address: HttpAddress) -> HTTPConnection:
        connection = (
            HTTPSConnection(address.host, address.port, timeout=CONNECT_SECONDS, context=self._tls)
            if address.secure
            else HTTPConnection(address.host, address.port, timeout=CONNECT_SECONDS)
        )
        connection.response_class = _PacedResponse
        connection.connect()
        return connection


class _PacedResponse(HTTPResponse):
    """A response that arrives at a least rate."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        assert isinstance(self.fp, BufferedReader)
        self.fp = BufferedReader(PacedReader(sock, self.fp.detach()))


class _Receiving(Protocol):
    """A socket, of which the timeout is set."""

    def gettimeout(self) -> float | None: ...

    def settimeout(self, seconds: float | None, /) -> object: ...


# docs/decisions.md#a-response-has-a-least-rate
class PacedReader(RawIOBase):
    """Reads from a socket whose timeout is the longest pause. Raises TimeoutError for a peer that sends a byte now and then.

    In sum it waits for two such pauses, and for a second more with every `MIN_BYTES_A_SECOND`. The time that the caller spends
    between two reads does not count.
    """

    def __init__(self, connection: _Receiving, raw: RawIOBase, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._raw = raw
        self._clock = clock
        self._pause = connection.gettimeout() or 0.0
        self._waited = 0.0
        self._received = 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Receive available bytes. Raises TimeoutError."""
        left = 2 * self._pause + self._received / MIN_BYTES_A_SECOND - self._waited
        if left <= 0:
            raise TimeoutError("timed out")
        if self._received > _MAX_RECEIVED:
            raise HTTPException(f"more than {_MAX_RECEIVED} bytes arrived")
        self._connection.settimeout(min(self._pause, left))
        began = self._clock()
        count: int | None = self._raw.readinto(buffer)
        self._waited += self._clock() - began
        self._received += count or 0
        return count

    def close(self) -> None:
        """Close what it reads from."""
        self._raw.close()
        super().close()


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ClientError(f"{ca_file} has no certificates: expected some in PEM, each between BEGIN and END") from None
    except OSError as error:
        raise ClientError(f"{ca_file}: {error.strerror}; give a file of certificates in PEM") from None


def _close(connections: IdleConnections) -> None:
    for idle in connections.values():
        while idle:
            idle.pop().close()


def _usable(idle: deque[HTTPConnection]) -> HTTPConnection | None:
    """An idle connection that the server has not closed."""
    while True:
        try:
            connection = idle.pop()
        except IndexError:
            return None
        if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
            return connection
        connection.close()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    text = getattr(error, "strerror", None) or str(error)
    return str(text).rpartition("] ")[2]


def _remedy(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "check the name in the address"
    if isinstance(error, ssl.SSLError):
        if any(text in str(error) for text in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")):
            return "it does not speak HTTPS: use http:// in the address"
        return "check its certificate: SSL_CERT_FILE names a file of others to trust"
    return "check that phimage runs there"
