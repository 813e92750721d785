"""What a fault does to the answer of a request, between the application and the connection."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Iterable
from http import HTTPStatus

from phimage.ci.fault import FaultRule
from phimage.http.asgi import Message, Receive, Send, send_response
from phimage.processes.http1 import RESET

HEADER = b"x-phimage-fault"
SLOW_STEP = 16 << 10
"""Bytes of a slow body that are sent at once."""
_RET_CODE = re.compile(rb'^\{"RetCode":(\d+)')


class FaultyAnswer:
    """Passes an answer on as its faults have it, and remembers what was answered.

    A body that is cut ends without its last bytes, and the connection with it. `flip` inverts one byte of the body.
    """

    def __init__(self, scope: Message, send: Send, rules: Iterable[FaultRule], *, keeps_body: bool) -> None:
        """`keeps_body`: the body is an Action's, which is read for the journal."""
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self._send = send
        self._keeps_body = keeps_body
        self._rules = tuple(rules)
        self._values = {rule.what: rule.value for rule in self._rules}
        self._sent = 0
        self._reset = scope.get("extensions", {}).get(RESET)

    @property
    def ret_code(self) -> int | None:
        """The RetCode of the answer; None if it has none."""
        match = _RET_CODE.match(self.body)
        return int(match[1]) if match else None

    @property
    def was_sent(self) -> bool:
        """Whether the client gets at least the header."""
        return self.status is not None and "lost" not in self._values

    def field(self, name: bytes) -> str:
        """A field of the header, empty if it is absent."""
        return self.headers.get(name, b"").decode("latin-1")

    async def send(self, message: Message) -> None:
        """See `phimage.http.asgi.Send`."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            struck = [(HEADER, rule.text.encode("ascii")) for rule in self._rules]
            message = {**message, "headers": [*message["headers"], *struck]}
        else:
            if self._keeps_body:
                self.body += message.get("body", b"")
                if not message.get("more_body") and self.headers.get(b"content-encoding") == b"gzip":
                    self.body = gzip.decompress(self.body)
            message = self._changed(message)
        if "lost" not in self._values:
            await self._pass_on(message)

    async def end(self) -> None:
        """The end of an answer: a lost one resets the connection."""
        if "lost" in self._values:
            self.reset()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        if self._reset is not None:
            self._reset()

    def _changed(self, message: Message) -> Message:
        body = bytes(message.get("body", b""))  # downloads send views of pieces
        at = int(self._values.get("flip", -1)) - self._sent
        if 0 <= at < len(body):
            body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
        more = message.get("more_body", False)
        if "cut" in self._values:
            left = max(0, int(self._values["cut"]) - self._sent)
            more = more or len(body) > left  # the rest never comes
            self._sent += len(body)
            body = body[:left]
        else:
            self._sent += len(body)
        return {**message, "body": body, "more_body": more}

    async def _pass_on(self, message: Message) -> None:
        rate = self._values.get("slow")
        if rate is None or message["type"] == "http.response.start":
            await self._send(message)
            return
        body = message["body"]
        step = max(1, min(SLOW_STEP, int(rate)))
        for start in range(0, len(body) or 1, step):
            piece = body[start : start + step]
            more = message["more_body"] or start + step < len(body)
            await asyncio.sleep(len(piece) / rate)  # before it: a body of one piece is slow too
            await self._send({**message, "body": piece, "more_body": more})


async def send_status(send: Send, status: int, request_id: str) -> None:
    """The answer of a proxy that has no answer of the application: a page, as nginx sends it."""
    title = f"{status} {HTTPStatus(status).phrase}"
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body>\r\n</html>\r\n"
    await send_response(send, status, page.encode(), request_id, content_type=b"text/html")


async def wait_for_end(receive: Receive) -> None:
    """Answer nothing until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
