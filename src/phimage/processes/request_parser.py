"""The parser of the requests of a connection: httptools, with limits, and with the ASGI names of what it finds.

Requests that a worker has parsed before are kept: the same bytes are the same request, on any connection.
"""

from __future__ import annotations

import re
from typing import Protocol
from urllib.parse import unquote

import httptools
from msgspec import Struct

from phimage.http.asgi import Message
from phimage.lru import Lru

MAX_HEADER_BYTES = 128 << 10
"""Bytes of a request that are read without a piece of its body, or its end."""
MAX_HEADER_FIELDS = 128
MAX_PARSED_BYTES = 8_000_000
"""The maximum size of all parsed requests that are kept, in bytes."""
_ENTRY_BYTES = 2_500
"""About the size of an entry without the bytes of its request: its scope has up to 128 header fields, usually less than ten."""
OF_REQUEST = ("http_version", "method", "path", "raw_path", "query_string", "headers")
"""What differs between the scopes of requests on one connection."""

_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class RequestSink(Protocol):
    """What becomes of the requests."""

    def take_request(self, fields: Message, *, expects_continue: bool, keeps_alive: bool) -> None:
        """The header of a request is whole. `fields` are those of the scope that are the request's own."""

    def take_body(self, piece: bytes) -> None:
        """A piece of the body of that request."""

    def end_request(self) -> None:
        """That request is whole."""

    def refuse(self, status: int) -> None:
        """A request breaks a limit."""


class RequestParser:
    """Parses bytes as they arrive. `in_header`: a header has begun and is not whole. `unparsed`: the bytes since the last
    part of a request that was whole."""

    def __init__(self, sink: RequestSink) -> None:
        self.in_header = False
        self.unparsed = 0
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._header: list[tuple[bytes, bytes]] = []
        self._expects_continue = False
        self._offered_body = b""
        self._is_replay = False
        self._in_body = False

    @property
    def is_between_requests(self) -> bool:
        """Whether the next byte begins a request."""
        return not (self._in_body or self.in_header or self.unparsed)

    def feed(self, data: bytes) -> bool:
        """Parse bytes. Returns whether none of their requests offered another protocol. Raises httptools.HttpParserError."""
        self.unparsed += len(data)
        is_plain = True
        if not (self._in_body or (self.in_header and self._header) or data.isascii()):
            data = _with_ascii_target(data)
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._decline_upgrade()
                is_plain = False
            else:
                break
        return is_plain

    # httptools calls these.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._is_replay:
            return
        self._url = b""
        self._header = []
        self._expects_continue = False
        self.in_header = True

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        if not self._is_replay:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the header. Those after a body are ignored."""
        if self.in_header:
            name = name.lower()
            if name == b"expect":
                self._expects_continue = value.lower() == b"100-continue"
            self._header.append((name, value))

    def on_headers_complete(self) -> None:
        """The header is whole."""
        self.in_header, self._in_body = False, True
        size, self.unparsed = self.unparsed, 0
        if self._is_replay:
            return
        if len(self._header) > MAX_HEADER_FIELDS or (size > MAX_HEADER_BYTES and self._header_bytes() > MAX_HEADER_BYTES):
            self._sink.refuse(431)
            return
        fields = self._fields()
        keeps_alive = self._parser.should_keep_alive() and fields["method"] != "CONNECT"
        if self._parser.should_upgrade() and keeps_alive:
            self._offered_body = b"".join(b"%b: %b\r\n" % field for field in self._header if field[0] in _FRAMING)
        self._sink.take_request(fields, expects_continue=self._expects_continue, keeps_alive=keeps_alive)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self.unparsed = 0
        self._sink.take_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.unparsed = 0
        if not self._offered_body:
            self._in_body = False
            self._sink.end_request()

    def _header_bytes(self) -> int:
        return len(self._url) + sum(len(name) + len(value) for name, value in self._header)

    def _fields(self) -> Message:
        target = self._url.partition(b"#")[0] if b"#" in self._url else self._url
        if target.startswith(b"/"):
            path, _, query = target.partition(b"?")
        else:  # the absolute form, or that of CONNECT and OPTIONS
            parsed = httptools.parse_url(target) if b"//" in target else None
            path, query = (parsed.path or b"/", parsed.query or b"") if parsed else (target, b"")
        text = path.decode("latin-1")
        return {
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in text or not text.isascii() else text,
            "raw_path": path,
            "query_string": query,
            "headers": self._header,
        }

    # docs/decisions.md#an-offer-of-http2-is-declined
    def _decline_upgrade(self) -> None:
        """Read on after a request that offers another protocol. The parser takes its body for bytes of that protocol."""
        framing, self._offered_body = self._offered_body, b""
        if framing:
            self._is_replay = True
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._is_replay = False


class ParsedRequest(Struct, frozen=True):
    """A whole request of HTTP/1.1 that keeps its connection and offers no other protocol. `scope` has what OF_REQUEST names."""

    scope: Message
    body: bytes


# docs/decisions.md#the-bytes-of-a-request-are-a-key
class ParsedRequests:
    """The most recently used ones that had a known response: so only callers with a key can fill it. Used on the event loop."""

    def __init__(self, max_bytes: int = MAX_PARSED_BYTES) -> None:
        self._requests: Lru[bytes, ParsedRequest] = Lru(max_bytes)
        self.get = self._requests.get

    def put(self, data: bytes, scope: Message, body: bytes) -> None:
        """Keep what the bytes of a request mean."""
        fields = {name: scope[name] for name in OF_REQUEST}
        self._requests.put(data, ParsedRequest(fields, body), _ENTRY_BYTES + 2 * len(data))


def _with_ascii_target(data: bytes) -> bytes:
    """Percent-encode what is not ASCII in the first line: curl sends UTF-8 in a query as it is, and the parser refuses it."""
    line, end, rest = data.partition(b"\n")
    return _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line) + end + rest
