"""The ASGI interface: message types, one request with the way back to its client, and request ids."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from phimage.http.response import JsonResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class KnownResponse(NamedTuple):
    """A whole response with status 200: the lines of its header, with their ends, and its body."""

    header: bytes
    body: bytes


KnownResponses = Callable[[Message, bytes], KnownResponse | None]
"""The response to a request of which the server has the whole body, when an application has it ready; else None, and the
request goes to the application. The scope that it gets is the same. Called on the event loop; never blocks."""


def no_known_response(scope: Message, body: bytes) -> None:
    """An application that has none ready."""


HeaderFields = Iterable[tuple[bytes, bytes]]
"""Header fields as ASGI has them: lower-case names."""

REQUEST_ID = b"x-ucloud-request-uuid"
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
"""On every response: a browser must not take the bytes of an image or a text of a tenant for a page or a script."""
_IDS_AT_ONCE = 256


class LateMount:
    """An application that is built at its first request, in a thread: few processes need what it imports."""

    def __init__(self, build: Callable[[], Application]) -> None:
        self._build = build
        self._built: asyncio.Task[Application] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._built is None or (self._built.done() and self._built.exception() is not None):
            self._built = asyncio.create_task(asyncio.to_thread(self._build))
        application = await asyncio.shield(self._built)
        await application(scope, receive, send)


def is_browser_at_root(scope: Message) -> bool:
    """Whether a person seems to have typed the address of the server: a GET of `/` or `/console` without a query, for HTML."""
    if scope["method"] != "GET" or scope["path"] not in ("/", "/console") or scope["query_string"]:
        return False
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


async def send_response(
    send: Send,
    status: int,
    body: bytes,
    request_id: str,
    extra: HeaderFields = (),
    content_type: bytes = b"application/json",
) -> None:
    """Send a whole response, with `extra` header fields."""
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (REQUEST_ID, request_id.encode("ascii")),
        NO_SNIFFING,
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Exchange:
    """One request and the way back to its client. Every response carries the request id."""

    def __init__(
        self, scope: Message, receive: Receive, send: Send, request_id: str, every_response: HeaderFields = ()
    ) -> None:
        """`every_response` are further header fields of every response."""
        self.scope = scope
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self._every_response = every_response

    @property
    def method(self) -> str:
        """The request method."""
        method: str = self.scope["method"]
        return method

    @property
    def query(self) -> str:
        """The query, still percent-encoded."""
        query: bytes = self.scope["query_string"]
        return query.decode("utf-8", "replace")

    def header_fields(self) -> Mapping[str, str]:
        """The header fields by lower-case name. Lines of one field become one list (RFC 9110, 5.3)."""
        fields: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        return fields

    async def respond(self, response: JsonResponse) -> None:
        """Send a whole JSON response; to HEAD, without its body."""
        body = response.body
        fixed = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        await self.start(response.status, {**fixed, **response.headers})
        await self.end(b"" if self.method == "HEAD" else body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and the header."""
        fields = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        fields += [(REQUEST_ID, self.request_id.encode("ascii")), NO_SNIFFING, *self._every_response]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})

    async def end(self, body: bytes = b"") -> None:
        """Send a body that is in memory, and end the response."""
        await self.send({"type": "http.response.body", "body": body})


def new_request_id() -> str:
    """A random UUID, version 4. Takes a third of the time of `uuid.uuid4`."""
    return uuid_of(secrets.token_hex(16))


def request_ids() -> Iterator[str]:
    """Request ids without end.

    Draws randomness for many at a time: the system call releases the GIL, and a busy process waits to get it back.
    """
    while True:
        digits = secrets.token_hex(16 * _IDS_AT_ONCE)
        yield from (uuid_of(digits[start : start + 32]) for start in range(0, len(digits), 32))


def uuid_of(digits: str) -> str:
    """The UUID, version 4, of 32 random hexadecimal digits."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}"
