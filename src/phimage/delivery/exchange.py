"""One request and the way back to its client."""

from __future__ import annotations

from collections.abc import Mapping

from phimage.delivery.authorizer import Method
from phimage.delivery.stream import Message, Receive, Send
from phimage.refusal import Answer

_FILES = "http.response.pathsend"


class Exchange:
    """Wraps what the server calls an application with. Every answer has the request's id."""

    def __init__(self, scope: Message, receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.request_id = request_id

    @property
    def method(self) -> Method:
        """GET for whatever has a body in its answer."""
        return "HEAD" if self.scope["method"] == "HEAD" else "GET"

    @property
    def sends_files(self) -> bool:
        """Whether the server sends a file by itself when it is told a path."""
        return _FILES in self.scope.get("extensions", {})

    def headers(self) -> Mapping[str, str]:
        """The request's header fields by lower-case name; the lines of one field are one list (RFC 9110, 5.3)."""
        found: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
        return found

    async def answer(self, answer: Answer) -> None:
        """All of a small answer."""
        length = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
        await self.start(answer.status, {**length, **answer.headers})
        await self.end(b"" if self.method == "HEAD" else answer.body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """The header."""
        told = {**headers, "X-UCLOUD-REQUEST-UUID": self.request_id}
        fields = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in told.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})

    async def end(self, body: bytes = b"") -> None:
        """All of a body that is in memory."""
        await self.send({"type": "http.response.body", "body": body})

    async def send_file(self, path: str) -> None:
        """Let the server send a file. It does so after this returns, and does not say when it is done."""
        await self.send({"type": _FILES, "path": path})
