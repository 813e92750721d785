"""A disk and a server in memory: every call is recorded, and any of them can fail."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

from phimage.agent.crew import Crew
from phimage.agent.errors import DiskFailed
from phimage.agent.image_chunks import ImageChunks
from phimage.agent.image_source import ServedImage, image_urls
from phimage.agent.server_link import AgentKey
from phimage.chunks.frame import pack
from phimage.http_client import ApiConnections, HttpAddress, ServerResponse
from phimage.http_signature import read_signature
from tests.deploying import OLD

URL = "https://images.example/images/pimg-os-memory.raw?Ticket=1"


class MemoryDisk:
    """A disk full of old data. `calls` has the name, offset and length of each; the one numbered `fails` raises."""

    path = "/dev/memory"

    def __init__(self, size: int, sector_size: int = 512, fails: int = -1) -> None:
        self.size = size
        self.sector_size = sector_size
        self.fails = fails
        self.calls: list[tuple[str, int, int]] = []
        self.bytes = bytearray(OLD * size)
        self.durable = bytes(self.bytes)
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        self._call("read", offset, length)
        return bytes(self.bytes[offset : offset + length])

    def digest(self, offset: int, length: int) -> bytes:
        return sha256(self.read(offset, length)).digest()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self._call("write", offset, len(data))
        self.bytes[offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        self._call("zero", offset, length)
        self.bytes[offset : offset + length] = bytes(length)

    def sync(self) -> None:
        self._call("sync", 0, 0)
        self.durable = bytes(self.bytes)

    def _call(self, name: str, offset: int, length: int) -> None:
        with self._lock:
            number = len(self.calls)
            self.calls.append((name, offset, length))
            assert offset % self.sector_size == 0
            assert length % self.sector_size == 0
            assert offset + length <= self.size
        if number == self.fails:
            raise DiskFailed(self.path, name, offset, "input/output error")


class MemoryServer(ApiConnections):
    """Serves one disk. `respond` may replace a response, by the number of the request."""

    def __init__(self, disk: bytes, chunk_size: int) -> None:
        super().__init__(1.0)
        chunks = [disk[at : at + chunk_size] for at in range(0, len(disk), chunk_size)]
        entries: list[str | int] = [sha256(chunk).hexdigest() if chunk.strip(b"\0") else 1 for chunk in chunks]
        document = {"format": "phimage-disk-1", "size": len(disk), "chunk_size": chunk_size, "chunks": entries, "facts": {}}
        self.manifest = json.dumps(document).encode()
        self.frames = [pack(chunk) for chunk in chunks]
        self.requests: list[str] = []
        self.respond: Callable[[int, ServerResponse], ServerResponse] = lambda number, response: response

    def request(
        self, method: str, address: HttpAddress, body: bytes | None, headers: dict[str, str], max_bytes: int | None = None
    ) -> ServerResponse:
        self.requests.append(f"{address.target} {headers.get('Range', '')}")
        return self.respond(len(self.requests), self._response(address.path, headers))

    def source(self, crew: Crew | None = None, patience: float = 10.0) -> ServedImage:
        clock = iter(range(1 << 30))
        return ServedImage(image_urls(URL), self, lambda seconds: None, lambda: float(next(clock)), patience=patience)

    def _response(self, path: str, headers: dict[str, str]) -> ServerResponse:
        if path.endswith("/manifest"):
            return ServerResponse(200, {}, self.manifest)
        if path.endswith("/frames"):
            rows = [(1, len(frame), "") for frame in self.frames]
            return ServerResponse(200, {}, json.dumps({"format": "phimage-frames-1", "frames": rows}).encode())
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers["Range"])
        assert match is not None
        start, last = int(match[1]), int(match[2])
        return ServerResponse(206, {"content-range": f"bytes {start}-{last}/*"}, b"".join(self.frames)[start : last + 1])


KEY = AgentKey("key-1", "secret")
Answer = dict[str, Any] | str
"""The fields of a response, or a page that is none."""


class AgentServer(ApiConnections):
    """Answers the Actions of an agent as a test says, and keeps what it got."""

    def __init__(self, answer: Callable[[int, dict[str, str]], Answer]) -> None:
        super().__init__(1.0)
        self.answer = answer
        self.got: list[dict[str, str]] = []
        self.created: list[int] = []
        self.nonces: list[str] = []
        self.reported = threading.Event()

    def request(
        self, method: str, address: HttpAddress, body: bytes | None, headers: dict[str, str], max_bytes: int | None = None
    ) -> ServerResponse:
        signature = read_signature({name.lower(): value for name, value in headers.items()})
        assert signature is not None
        assert body is not None
        assert signature.is_by(KEY.secret, method, address.path, address.query)
        assert signature.is_of(body)
        self.created.append(signature.created)
        self.nonces.append(signature.nonce)
        self.got.append(dict(parse_qsl(body.decode(), keep_blank_values=True)))
        self.reported.set()
        answer = self.answer(len(self.got), self.got[-1])
        return ServerResponse(200, {}, (answer if isinstance(answer, str) else json.dumps(answer)).encode())


def chunks_of(server: MemoryServer) -> ImageChunks:
    return server.source().chunks("")
