"""One request of a connection: its body arrives, its response leaves, and both wait for the slower side."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from phimage.event_log import log
from phimage.http.asgi import Application, Message

if TYPE_CHECKING:
    from phimage.processes.http1 import HttpConnection

BUFFERED_BYTES = 64 << 10
"""Bytes of a body after which the connection is not read until the application receives them."""
_JOINED_BYTES = 64 << 10
"""A larger body is written beside its header, which spares a copy."""
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINE_BREAK = re.compile(rb"[\r\n\0]")
_NO_BODY = frozenset({204, 304})


class HttpRequest:
    """A request and its response. `receive` and `send` are those of ASGI."""

    def __init__(self, connection: HttpConnection, scope: Message, expects_continue: bool) -> None:
        self.method: str = scope["method"]
        self.keeps_alive = True
        self.is_complete = False
        self._connection = connection
        self.scope = scope
        self._expects_continue = expects_continue
        self._body: list[bytes] = []
        self._size = 0
        self._was_received = False
        self._is_gone = False
        self._changed: asyncio.Event | None = None
        self._start: Message | None = None
        self._has_started = False
        self._has_ended = False
        self._is_chunked = False
        self._left = 0
        self._closes = False

    @property
    def body(self) -> bytes:
        """What has arrived of the body and was not received."""
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    @property
    def can_be_known(self) -> bool:
        """Whether a known response can be sent: for a whole request that is not of the old version."""
        return self.is_complete and not self._is_gone and self.scope["http_version"] == "1.1"

    def add(self, piece: bytes) -> None:
        """Add a piece of the body."""
        self._body.append(piece)
        self._size += len(piece)
        if self._size > BUFFERED_BYTES:
            self._connection.pause_reading()
        self._notify()

    def complete(self) -> None:
        """The body is whole."""
        self.is_complete = True
        self._notify()

    def give_up(self) -> None:
        """The client is gone."""
        self._is_gone = True
        self._notify()

    async def run(self, application: Application) -> None:
        """Answer the request. An exception of the application is a defect, and is logged."""
        try:
            await application(self.scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001  a defect of any kind is logged and answered
            log.exception("request.failed", error, path=self.scope["path"])
            if not self._has_started and not self._is_gone:
                self._start = {"status": 500, "headers": [(b"connection", b"close")]}
                await self.send({"type": "http.response.body", "body": b""})
        if not self._has_ended:
            self._connection.break_off(has_started=self._has_started)

    async def receive(self) -> Message:
        """The next piece of the body; after its end, the client's leaving."""
        if self._expects_continue and not (self._is_gone or self._body or self.is_complete):
            self._expects_continue = False
            self._connection.transport.write(_CONTINUE)
        while not (self._body or self.is_complete or self._is_gone) or (self._was_received and not self._is_gone):
            await self._change()
        if self._is_gone:
            return {"type": "http.disconnect"}
        body = self.body
        self._body.clear()
        self._size = 0
        self._was_received = self.is_complete
        if not self.is_complete:
            self._connection.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self.is_complete}

    async def send(self, message: Message) -> None:
        """A part of the response. Returns when the client has read most of it; at once when the client is gone."""
        if self._is_gone or self._has_ended:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
            return
        if self._start is None and not self._has_started:
            raise RuntimeError("a response begins with http.response.start")
        self._write(message.get("body", b""), more=message.get("more_body", False))
        await self._connection.written()

    def _write(self, body: bytes, *, more: bool) -> None:
        transport = self._connection.transport
        head = b"" if self._has_started else self._head(body, more=more)
        if self.method == "HEAD":
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        else:
            self._left -= len(body)
        if len(body) < _JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines([head, body] if head else [body])
        if not more:
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        is_short = self._left != 0 and self.method != "HEAD"
        self._connection.end_response(self, close=self._closes or is_short)

    def _head(self, body: bytes, *, more: bool) -> bytes:
        """The status line and the header. Decides how the body ends, and whether the connection does."""
        assert self._start is not None
        status: int = self._start["status"]
        connection = self._connection
        self._closes = not self.keeps_alive or not self.is_complete or connection.connections.draining
        lines = [STATUS_LINES[status], connection.connections.date]
        length: int | None = None
        for name, value in self._start["headers"]:
            if _LINE_BREAK.search(value):
                raise RuntimeError(f"the header field {name!r} has a line break")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                self._closes = self._closes or value.lower() == b"close"
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(self._framing(status, length, body, more=more))
        if self._closes:
            lines.append(b"connection: close\r\n")
        elif self.scope["http_version"] == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._has_started = True
        return b"".join(lines)

    def _framing(self, status: int, length: int | None, body: bytes, *, more: bool) -> bytes:
        """The header field that says where the body ends, unless the response has it."""
        if length is not None or status in _NO_BODY:
            self._left = 0 if length is None or status in _NO_BODY else length
            return b""
        if not more:
            self._left = len(body)
            return b"content-length: %d\r\n" % len(body)
        if self.scope["http_version"] == "1.0":
            self._closes = True
            self._left = 0
            return b""
        self._is_chunked = True
        return b"transfer-encoding: chunked\r\n"

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
