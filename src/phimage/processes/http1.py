"""One connection of HTTP/1.1: httptools parses its requests, and an ASGI application answers them.

Requests that a client sends at once are answered one after the other, in their order. A body is read only as fast as the
application receives it, and a response is made only as fast as the client reads it.
"""

from __future__ import annotations

import asyncio
import re
import struct
from array import array
from collections import deque
from contextlib import suppress
from fcntl import ioctl
from socket import SO_LINGER, SOL_SOCKET
from termios import TIOCOUTQ
from typing import Any, cast
from urllib.parse import unquote

import httptools

from phimage.http.asgi import Application, Message
from phimage.processes.connections import Connections, Waiting
from phimage.processes.http_request import STATUS_LINES, HttpRequest

MAX_HEADER_BYTES = 128 << 10
"""Bytes of a request that are read without a piece of its body, or its end."""
MAX_HEADER_FIELDS = 128
MAX_PIPELINED = 64
"""Requests of a connection that wait for the one that is being answered."""

RESET = "phimage.reset"
"""The ASGI extension that ends a connection with a TCP reset."""

_ASGI = {"version": "3.0", "spec_version": "2.4"}
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_NO_LINGER = struct.pack("ii", 1, 0)
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class HttpConnection(asyncio.Protocol):
    """A connection of a client. Its transport may be encrypted."""

    def __init__(self, application: Application, connections: Connections, client: tuple[Any, ...]) -> None:
        """`client` is the address of the client, which `connections` has admitted."""
        self.connections = connections
        self.loop = asyncio.get_running_loop()
        self.transport = cast("asyncio.Transport", None)  # until it is connected
        self.was_connected = False
        self.is_lost = False
        self.is_encrypted = False
        self._application = application
        self._client = client[:2]
        self._parser = httptools.HttpRequestParser(self)
        self._scope: dict[str, Any] = {}
        self._url = b""
        self._header: list[tuple[bytes, bytes]] = []
        self._expects_continue = False
        self._in_header = False
        self._offered_body = b""
        self._is_replay = False
        self._unparsed = 0
        self._incoming: HttpRequest | None = None
        self._current: HttpRequest | None = None
        self._queued: deque[HttpRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._refusal = 0
        self._lingers = False
        self._is_paused = False
        self._unsent = 0
        self._writable: asyncio.Future[None] | None = None

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; with TLS, after its handshake."""
        self.transport = cast("asyncio.Transport", transport)
        self.was_connected = True
        self.is_encrypted = transport.get_extra_info("sslcontext") is not None
        self._scope = {
            "type": "http",
            "asgi": _ASGI,
            "scheme": "https" if self.is_encrypted else "http",
            "root_path": "",
            "client": self._client,
            "server": (transport.get_extra_info("sockname") or ("", 0))[:2],
            "extensions": {RESET: self.reset},
        }
        self.connections.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has ended."""
        self.is_lost = True
        self.connections.ended(self, self._client[0])
        self._give_up_requests()
        self.resume_writing()

    def eof_received(self) -> None:
        """The client sends nothing more: it has left."""
        self._give_up_requests()
        self.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to."""
        if self._writable is None:
            self._writable = self.loop.create_future()
            self._unsent = self._count_unsent()
            self.connections.wait(self, Waiting.READER)

    def resume_writing(self) -> None:
        """The client has read most of what it was sent."""
        if self._writable is not None:
            self.connections.end_wait(self, Waiting.READER)
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    def data_received(self, data: bytes) -> None:
        """Parse bytes of requests."""
        if self._lingers or self._refusal:
            return
        self._unparsed += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(400)
        else:
            self._judge_progress()

    # The connections call these.

    def expire(self, waiting: Waiting) -> bool:
        """See `Waiter`."""
        unsent, before = self._count_unsent(), self._unsent
        self._unsent = unsent
        if waiting is Waiting.HEADER and self._in_header:
            self._refuse(408)
        elif waiting is not Waiting.LINGER and unsent > 0 and (unsent < before or (before == 0 and waiting is Waiting.IDLE)):
            return False
        elif waiting in (Waiting.HEADER, Waiting.IDLE) and unsent == 0:
            self.close()
        else:
            self.transport.abort()
        return True

    def close(self) -> None:
        """End the connection once what was written is sent."""
        self.connections.forget(self)
        if not self.is_lost:
            self._unsent = self._count_unsent()
            self.transport.close()
            self.connections.wait(self, Waiting.READER)

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def reset(self) -> None:
        """End the connection at once, with a TCP reset."""
        with suppress(OSError, RuntimeError):  # the socket is closed
            self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
        self.transport.abort()

    # The parser calls these.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._is_replay:
            return
        self._url = b""
        self._header = []
        self._expects_continue = False
        self._in_header = True

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        if not self._is_replay:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the header. Those after a body are ignored."""
        if self._in_header:
            name = name.lower()
            if name == b"expect":
                self._expects_continue = value.lower() == b"100-continue"
            self._header.append((name, value))

    def on_headers_complete(self) -> None:
        """The header is whole: the request can be answered."""
        self._in_header = False
        size, self._unparsed = self._unparsed, 0
        if self._refusal or self._is_replay:
            return
        if len(self._header) > MAX_HEADER_FIELDS or (size > MAX_HEADER_BYTES and self._header_bytes() > MAX_HEADER_BYTES):
            self._refuse(431)
            return
        request = self._incoming = HttpRequest(self, self._request_scope(), self._expects_continue)
        request.keeps_alive = self._parser.should_keep_alive() and request.method != "CONNECT"
        if self._parser.should_upgrade() and request.keeps_alive:
            self._offered_body = b"".join(b"%b: %b\r\n" % field for field in self._header if field[0] in _FRAMING)
        if self._current is None:
            self._begin(request)
        elif len(self._queued) < MAX_PIPELINED:
            self._queued.append(request)
            self.pause_reading()
        else:
            self._refuse(400)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._unparsed = 0
        if self._incoming is not None:
            self._incoming.add(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unparsed = 0
        if self._incoming is not None and not self._offered_body:
            self._incoming.complete()
            self._incoming = None

    # The requests call these.

    def pause_reading(self) -> None:
        """Stop to read until `resume_reading`."""
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, unless whole requests wait."""
        if self._is_paused and not self._queued and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    async def written(self) -> None:
        """Wait until the client has read most of what it was sent, or is gone."""
        while self._writable is not None:
            await asyncio.shield(self._writable)

    def end_response(self, request: HttpRequest, *, close: bool) -> None:
        """Go on after a response: with the next request, or with the end of the connection."""
        self._current = None
        if self.is_lost or self.transport.is_closing():
            return
        if close:
            self._linger() if not request.is_complete else self.close()
        elif self._queued:
            self._begin(self._queued.popleft())
            self.resume_reading()
        elif self._refusal:
            self._send_refusal()
        else:
            self.resume_reading()
            self._unsent = 0
            self._await_header() if self._in_header else self.connections.wait(self, Waiting.IDLE)

    def break_off(self, *, has_started: bool) -> None:
        """End the connection without the rest of a response: the client finds it short."""
        self._current = None
        if self._refusal and not has_started:
            self._send_refusal()
        elif not self.is_lost:
            self.close()

    def _feed(self, data: bytes) -> None:
        if self._incoming is None and not self._header_has_fields() and not data.isascii():
            data = _with_ascii_target(data)
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._decline_upgrade()
            else:
                return

    # docs/decisions.md#an-offer-of-http2-is-declined
    def _decline_upgrade(self) -> None:
        """Read on after a request that offers another protocol. The parser takes its body for bytes of that protocol."""
        framing, self._offered_body = self._offered_body, b""
        if framing:
            self._is_replay = True
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._is_replay = False

    def _count_unsent(self) -> int:
        """The bytes that the client has not read yet, as far as its system says."""
        waiting = array("i", [0])
        with suppress(OSError, RuntimeError):  # the socket is closed
            ioctl(self.transport.get_extra_info("socket").fileno(), TIOCOUTQ, waiting)
        return self.transport.get_write_buffer_size() + waiting[0]

    def _header_bytes(self) -> int:
        return len(self._url) + sum(len(name) + len(value) for name, value in self._header)

    def _header_has_fields(self) -> bool:
        return self._in_header and bool(self._header)

    def _judge_progress(self) -> None:
        if self._refusal:
            return
        if self._unparsed > MAX_HEADER_BYTES:
            self._refuse(431)
        elif self._in_header and self._current is None:
            self._await_header()

    def _request_scope(self) -> Message:
        target = self._url.partition(b"#")[0] if b"#" in self._url else self._url
        if target.startswith(b"/"):
            path, _, query = target.partition(b"?")
        else:  # the absolute form, or that of CONNECT and OPTIONS
            parsed = httptools.parse_url(target) if b"//" in target else None
            path, query = (parsed.path or b"/", parsed.query or b"") if parsed else (target, b"")
        text = path.decode("latin-1")
        return {
            **self._scope,
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in text or not text.isascii() else text,
            "raw_path": path,
            "query_string": query,
            "headers": self._header,
        }

    def _begin(self, request: HttpRequest) -> None:
        self.connections.end_wait(self, Waiting.IDLE)
        self.connections.end_wait(self, Waiting.HEADER)
        self._current = request
        self._task = self.loop.create_task(request.run(self._application))

    def _await_header(self) -> None:
        """Begin the time that a header may take, with its first byte."""
        if not self.connections.is_waiting(self, Waiting.HEADER):
            self.connections.end_wait(self, Waiting.IDLE)
            self.connections.wait(self, Waiting.HEADER)

    def _refuse(self, status: int) -> None:
        """Answer what is not a request, after the requests before it, and end the connection."""
        self._refusal = status
        self._incoming = None
        if self._current is None:
            self._send_refusal()
        elif not self._current.is_complete:
            self._current.give_up()

    def _send_refusal(self) -> None:
        line = STATUS_LINES[self._refusal]
        if not self.transport.is_closing():
            self.transport.write(line + self.connections.date + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self._linger()

    def _linger(self) -> None:
        """Send what was written, and discard what the client still sends: a reset would take the response from it."""
        self._lingers = True
        self.connections.forget(self)
        if not self.transport.can_write_eof():  # with TLS
            self.close()
            return
        self.transport.write_eof()
        self._queued.clear()
        self.resume_reading()
        self.connections.wait(self, Waiting.LINGER)

    def _give_up_requests(self) -> None:
        for request in (self._current, self._incoming, *self._queued):
            if request is not None:
                request.give_up()
        self._queued.clear()


def _with_ascii_target(data: bytes) -> bytes:
    """Percent-encode what is not ASCII in the first line: curl sends UTF-8 in a query as it is, and the parser refuses it."""
    line, end, rest = data.partition(b"\n")
    return _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line) + end + rest
