"""A server of one image that sends wrong chunks, as a broken store, proxy or network would, or somebody on the way."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from phimage.chunks.frame import pack
from phimage.chunks.layout import ChunkDigest, DiskDigest
from phimage.chunks.manifest import build, encode
from tests.deploying import MIB

Lie = Callable[[list[bytes]], list[bytes]]
"""Replaces the frames of a disk, whose order is that of the disk."""


class LyingServer:
    """Serves the manifest of a disk and frames that a lie made of its own. A context manager.

    `lies` is how many responses lie; the others are right. `cut` ends each lying response early.
    """

    def __init__(self, disk: bytes, lie: Lie = lambda frames: frames, *, lies: int = 1 << 30, cut: bool = False) -> None:
        chunks = [disk[at : at + MIB] for at in range(0, len(disk), MIB)]
        entries: list[ChunkDigest | int] = []
        for chunk in chunks:
            if chunk.strip(b"\0"):
                entries.append(ChunkDigest(sha256(chunk).digest()))
            elif entries and isinstance(entries[-1], int):
                entries[-1] += 1
            else:
                entries.append(1)
        disk_digest = DiskDigest(sha256(disk).hexdigest())
        self.manifest = encode(build(len(disk), MIB, disk_digest, entries, {}))
        self._right = [pack(chunk) for chunk in chunks]
        self._wrong = lie(list(self._right))
        self._lies = lies
        self._cut = cut
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._respond(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/images/pimg-os-lies.raw.zst"

    def _respond(self, request: BaseHTTPRequestHandler) -> None:
        is_part = not request.path.endswith(("/manifest", "/frames"))
        with self._lock:
            lying = self._lies > 0
            self._lies -= lying and is_part
        frames = self._wrong if lying else self._right
        if request.path.endswith("/manifest"):
            self._send(request, 200, self.manifest, {})
        elif request.path.endswith("/frames"):
            rows = [(1, len(frame), "") for frame in frames]
            self._send(request, 200, json.dumps({"format": "phimage-frames-1", "frames": rows}).encode(), {})
        else:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"])
            assert match is not None
            start, last = int(match[1]), int(match[2])
            body = b"".join(frames)[start : last + 1]
            self._send(request, 206, body, {"Content-Range": f"bytes {start}-{last}/*"}, cut=lying and self._cut)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, fields: dict[str, str], *, cut: bool = False
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **fields}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if cut else body)
        request.close_connection = cut

    def __enter__(self) -> LyingServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
