"""Requests that the endpoint sends to a world by itself, in this process, signed like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from phimage.client import Client, ParamValue
from phimage.errors import Refused
from phimage.http.asgi import Application, Message
from phimage.model.account import PrivateKey

ORIGIN = "http://127.0.0.1"
SECONDS = 60.0


class OwnResponse(Struct, frozen=True):
    """A whole response."""

    status: int
    body: bytes


class OwnRequests:
    """Sends requests to an application on an event loop, from any other thread."""

    def __init__(self, application: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._application = application
        self._loop = loop

    def call(self, action: str, public: str, private: PrivateKey, /, **params: ParamValue) -> dict[str, Any]:
        """The fields of an Action's response. Raises Refused."""
        with Client(ORIGIN, public, private) as client:
            prepared = client.prepare(action, **params)
        response = self.send("POST", prepared.url, prepared.body, prepared.headers)
        fields = msgspec.json.decode(response.body, type=dict[str, Any])
        if fields["RetCode"]:
            raise Refused(fields["RetCode"], fields["Message"], fields.get("Detail", ""), "", fields)
        return fields

    def send(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> OwnResponse:
        """The response to a request. Raises TimeoutError when there is none."""
        parts = urlsplit(url)
        fields = {"host": parts.netloc, "content-length": str(len(body)), **(headers or {})}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 80),
        }
        return asyncio.run_coroutine_threadsafe(self._exchange(scope, body), self._loop).result(SECONDS)

    async def _exchange(self, scope: Message, body: bytes) -> OwnResponse:
        status, received, was_read = 0, bytearray(), False

        async def receive() -> Message:
            nonlocal was_read
            if was_read:
                await asyncio.Future()  # the client stays
            was_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                received.extend(message.get("body", b""))

        await self._application(scope, receive, send)
        return OwnResponse(status, bytes(received))
