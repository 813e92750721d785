"""A scriptable web server in threads, on raw sockets, which can also misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from types import TracebackType

from msgspec import Struct

OLD = formatdate(1_700_000_000, usegmt=True)


class Request(Struct, frozen=True):
    """A received request, with lower-case header names."""

    method: str
    path: str
    fields: Mapping[str, str]

    @property
    def start(self) -> int | None:
        """The first byte of `Range: bytes=N-`."""
        found = self.fields.get("range", "")
        return int(found.removeprefix("bytes=").partition("-")[0]) if found else None


class Exchange:
    """A request and its connection."""

    def __init__(self, connection: socket.socket, request: Request, closing: threading.Event) -> None:
        self.request = request
        self._connection = connection
        self._closing = closing

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(
        self, status: int, body: bytes = b"", fields: Mapping[str, str] | None = None, *, length: int | None = None
    ) -> None:
        """Send a complete response. `length` replaces the Content-Length; -1 leaves it out."""
        text = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status} Told"]
        lines += [f"Content-Length: {text}"] if text >= 0 else []
        lines += [f"{name}: {value}" for name, value in ({"Date": formatdate(usegmt=True)} | dict(fields or {})).items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def drip(self, data: bytes, pause: float = 0.02) -> None:
        """Send byte by byte until the client closes the connection."""
        for byte in data:
            if self._closing.wait(pause):
                return
            self.send(bytes([byte]))

    def hold(self) -> None:
        """Do nothing until the client or the test ends."""
        self._connection.settimeout(0.05)
        while not self._closing.is_set():
            with suppress(TimeoutError):
                if not self._connection.recv(1):
                    return


Handler = Callable[[Exchange], None]


class Server:
    """Calls the handler for each connection. `requests` are the received ones; a mute server waits for none."""

    def __init__(
        self,
        handler: Handler,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        *,
        mute: bool = False,
    ) -> None:
        self._mute = mute
        self.requests: list[Request] = []
        self.connections = 0
        self._handler = handler
        self._tls = tls
        self._closing = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, port), family=family)
        self.address = address
        self.port = int(self._listening.getsockname()[1])
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "/disk.img", host: str = "") -> str:
        host = host or (f"[{self.address}]" if ":" in self.address else self.address)
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._closing.set()
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            head = b""
            if self._mute:
                self._handler(Exchange(connection, Request("", "", {}), self._closing))
                return
            while b"\r\n\r\n" not in head:
                more = connection.recv(65536)
                if not more:
                    return
                head += more
            first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            request = Request(method, path, fields)
            self.requests.append(request)
            self._handler(Exchange(connection, request, self._closing))
        except OSError:
            pass  # the client had enough
        finally:
            connection.close()


class FileServed:
    """A handler that serves one file correctly: validators, Range, If-Range.

    `cuts` are the bytes of a body after which the connection breaks, request by request; None and later ones do not.
    """

    def __init__(
        self,
        content: bytes,
        *,
        etag: str = '"one"',
        modified: str = "",
        cuts: Sequence[int | None] = (),
        ranges: bool = True,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.content = content
        self.etag = etag
        self.modified = modified
        self.cuts = list(cuts)
        self.ranges = ranges
        self.fields = dict(fields or {})

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        cut = self.cuts.pop(0) if self.cuts else None
        fields = {**({"ETag": self.etag} if self.etag else {}), **({"Last-Modified": self.modified} if self.modified else {})}
        fields |= self.fields
        start, condition = request.start, request.fields.get("if-range")
        if start is None or not self.ranges or condition not in (None, self.etag or None, self.modified or None):
            exchange.answer(200, self.content[:cut], fields, length=len(self.content))
        elif start >= len(self.content):
            exchange.answer(416, b"", {"Content-Range": f"bytes */{len(self.content)}"})
        else:
            rest = self.content[start:]
            fields["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            exchange.answer(206, rest[:cut], fields, length=len(rest))


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether a condition becomes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()
