"""One connection of HTTP/1.1: httptools parses its requests, and an ASGI application answers them.

Requests that a client sends at once are answered one after the other, in their order. A body is read only as fast as the
application receives it, and a response is made only as fast as the client reads it.
"""

from __future__ import annotations

import asyncio
import struct
from array import array
from asyncio.trsock import TransportSocket
from collections import deque
from contextlib import suppress
from fcntl import ioctl
from socket import SO_LINGER, SOL_SOCKET
from termios import TIOCOUTQ
from typing import Any, cast

import httptools

from phimage.http.asgi import Application, KnownResponse, KnownResponses, Message, no_known_response
from phimage.processes.connections import Connections, Waiting
from phimage.processes.http_request import STATUS_LINES, HttpRequest
from phimage.processes.request_parser import MAX_HEADER_BYTES, ParsedRequest, RequestParser

MAX_PIPELINED = 64
"""Requests of a connection that wait for the one that is being answered."""

RESET = "phimage.reset"
"""The ASGI extension that ends a connection with a TCP reset."""

_ASGI = {"version": "3.0", "spec_version": "2.4"}
_NO_LINGER = struct.pack("ii", 1, 0)
_CLOSE = b"connection: close\r\n\r\n"


class HttpConnection(asyncio.Protocol):
    """A connection of a client. Its transport may be encrypted."""

    def __init__(
        self,
        application: Application,
        connections: Connections,
        client: tuple[Any, ...],
        known_responses: KnownResponses = no_known_response,
    ) -> None:
        """`client` is the address of the client, which `connections` has admitted."""
        self.connections = connections
        self.loop = asyncio.get_running_loop()
        self.transport = cast("asyncio.Transport", None)  # until it is connected
        self.was_connected = False
        self.is_lost = False
        self.is_encrypted = False
        self._application = application
        self._known_responses = known_responses
        self._client = client[:2]
        self._parser = RequestParser(self)
        self._scope: dict[str, Any] = {}
        self._incoming: HttpRequest | None = None
        self._current: HttpRequest | None = None
        self._is_begun = False
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
        self._scope = {}  # it refers to this connection, and cycles are collected rarely
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
            if self._current is None:
                self.pause_reading()

    def resume_writing(self) -> None:
        """The client has read most of what it was sent."""
        if self._writable is not None:
            self.connections.end_wait(self, Waiting.READER)
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None
            if self._current is None and not (self.is_lost or self._lingers or self.transport.is_closing()):
                self._go_on()

    def data_received(self, data: bytes) -> None:
        """Parse bytes of requests."""
        if self._lingers or self._refusal:
            return
        is_between = self._is_between_requests()
        if is_between and (parsed := self.connections.parsed.get(data)) is not None:
            self._repeat(parsed)
            return
        try:
            is_plain = self._parser.feed(data)
        except httptools.HttpParserError:
            self.refuse(400)
            is_plain = False
        else:
            self._judge_progress()
        if (request := self._current) is not None and not self._is_begun:
            is_alone = is_between and not self._queued  # of several requests, those after it wait now, and may not later
            is_known = self._begin(request)
            if is_known and is_plain and is_alone and self._is_between_requests() and request.keeps_alive:
                self.connections.parsed.put(data, request.scope, request.body)

    # The connections call these.

    def expire(self, waiting: Waiting) -> bool:
        """See `Waiter`."""
        unsent, before = self._count_unsent(), self._unsent
        self._unsent = unsent
        if waiting is Waiting.HEADER and self._parser.in_header:
            self.refuse(408)
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
        if (sock := self._socket()) is not None:
            with suppress(OSError, RuntimeError):  # it is closed
                sock.setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGER)
        self.transport.abort()

    # The parser calls these.

    def take_request(self, fields: Message, *, expects_continue: bool, keeps_alive: bool) -> None:
        """See `RequestSink`."""
        if self._refusal:
            return
        request = self._incoming = HttpRequest(self, {**self._scope, **fields}, expects_continue)
        request.keeps_alive = keeps_alive
        if self._current is None and self._writable is None:
            self._take_up(request)
        elif len(self._queued) < MAX_PIPELINED:
            self._queued.append(request)
            self.pause_reading()
        else:
            self.refuse(400)

    def take_body(self, piece: bytes) -> None:
        """See `RequestSink`."""
        if self._incoming is not None:
            self._incoming.add(piece)

    def end_request(self) -> None:
        """See `RequestSink`."""
        if self._incoming is not None:
            self._incoming.complete()
            self._incoming = None

    def refuse(self, status: int) -> None:
        """Answer what is not a request, after the requests before it, and end the connection."""
        if self._refusal:
            return
        self._refusal = status
        if self._queued and self._queued[-1] is self._incoming:
            self._queued.pop()  # its body never ends, and its application would wait for it
        self._incoming = None
        if self._current is None and not self._queued:
            self._send_refusal()
        elif self._current is not None and not self._current.is_complete:
            self._current.give_up()

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
        elif self._writable is None:
            self._go_on()
        else:  # docs/decisions.md#a-client-that-does-not-read-is-not-answered-further
            self.pause_reading()

    def break_off(self, *, has_started: bool) -> None:
        """End the connection without the rest of a response: the client finds it short."""
        self._current = None
        if self._refusal and not has_started:
            self._send_refusal()
        elif not self.is_lost:
            self.close()

    def _go_on(self) -> None:
        """Take up the next request, or wait for one."""
        if self._queued:
            request = self._queued.popleft()
            self.resume_reading()
            self._take_up(request)
            self._begin(request)
        elif self._refusal:
            self._send_refusal()
        else:
            self.resume_reading()
            self._unsent = 0
            self._await_header() if self._parser.in_header else self.connections.wait(self, Waiting.IDLE)

    def _socket(self) -> TransportSocket | None:
        """None when TLS has ended, of which this connection learns a moment later."""
        found: TransportSocket | None = self.transport.get_extra_info("socket")
        return found

    def _count_unsent(self) -> int:
        """The bytes that the client has not read yet, as far as its system says."""
        waiting = array("i", [0])
        if (sock := self._socket()) is not None:
            with suppress(OSError, RuntimeError):  # it is closed
                ioctl(sock.fileno(), TIOCOUTQ, waiting)
        return self.transport.get_write_buffer_size() + waiting[0]

    def _judge_progress(self) -> None:
        if self._refusal:
            return
        if self._parser.unparsed > MAX_HEADER_BYTES:
            self.refuse(431)
        elif self._parser.in_header and self._current is None:
            self._await_header()

    def _is_between_requests(self) -> bool:
        """Whether the next byte begins a request that can be answered at once."""
        busy = self._current or self._incoming or self._queued or self._refusal or self._writable
        return not busy and self._parser.is_between_requests

    def _take_up(self, request: HttpRequest) -> None:
        """Make it the current request. It begins when what has arrived is parsed, because its body may be whole then."""
        self.connections.end_wait(self, Waiting.IDLE)
        self.connections.end_wait(self, Waiting.HEADER)
        self._current = request
        self._is_begun = False

    def _run(self, request: HttpRequest) -> None:
        self._is_begun = True
        self._task = self.loop.create_task(request.run(self._application))

    def _begin(self, request: HttpRequest) -> bool:
        """Answer the current request. Returns whether its response was known."""
        if request.can_be_known and (known := self._known_responses(request.scope, request.body)) is not None:
            self._send_known(known, closes=not request.keeps_alive or self.connections.draining)
            return True
        self._run(request)
        return False

    def _repeat(self, parsed: ParsedRequest) -> None:
        """Answer a request whose bytes were parsed before."""
        scope = {**self._scope, **parsed.scope}
        if (known := self._known_responses(scope, parsed.body)) is not None:
            self.connections.end_wait(self, Waiting.HEADER)
            self._send_known(known, closes=self.connections.draining)
            return
        request = HttpRequest(self, scope, expects_continue=False)
        request.add(parsed.body)
        request.complete()
        self._take_up(request)
        self._run(request)

    def _send_known(self, known: KnownResponse, *, closes: bool) -> None:
        end = _CLOSE if closes else b"\r\n"
        self.transport.write(b"".join((STATUS_LINES[200], self.connections.date, known.header, end, known.body)))
        self._current = None
        if closes:
            self.close()
        elif self._writable is None:
            self._go_on()

    def _await_header(self) -> None:
        """Begin the time that a header may take, with its first byte."""
        if not self.connections.is_waiting(self, Waiting.HEADER):
            self.connections.end_wait(self, Waiting.IDLE)
            self.connections.wait(self, Waiting.HEADER)

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
