"""Uploads on a real server inside the test, an authorizer that the test controls, and a proxy that cuts connections."""

from __future__ import annotations

import random
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

from phimage.errors import UnknownToken
from phimage.http.asgi import Message, Receive, Send
from phimage.model.ids import JobId, ManifestDigest
from phimage.uploads.app import Uploads
from phimage.uploads.authorizer import Upload, UploadAccessRequest
from tests.serving import serving

JOB = JobId("job-4k2xqz7a9m3d")
TICKET = "Ticket=good"


class FakeAuthorizer:
    """Admits requests with one ticket. `requests` are those it got; `before` may refuse one by raising.

    `holder` returns the project of a request, by default its own. `images` are the disks that an upload may rely on.
    """

    def __init__(self, max_bytes: int = 1 << 40, before: Callable[[UploadAccessRequest], object] = lambda _: None) -> None:
        self.ticket = TICKET
        self.requests: list[UploadAccessRequest] = []
        self.images: list[ManifestDigest] = []
        self._max_bytes = max_bytes
        self.before = before
        self.holder: Callable[[UploadAccessRequest], str] = lambda request: request.request_id

    def authorize(self, request: UploadAccessRequest) -> Upload:
        self.requests.append(request)
        self.before(request)
        if request.query != self.ticket:
            raise UnknownToken(detail="ask for another URL")
        return Upload(request.job, self._max_bytes, self.holder(request))

    def manifests(self, upload: Upload) -> list[ManifestDigest]:
        return self.images

    def puts(self) -> int:
        return sum(request.method == "PUT" for request in self.requests)


def request_id() -> str:
    return str(uuid.uuid4())


def caller(_: Message) -> str:
    return "127.0.0.1"


@contextmanager
def served(uploads: Uploads, port: int = 0) -> Iterator[str]:
    """The URL of the upload `JOB`, without a ticket, while the server runs in a thread."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await uploads(scope, receive, send)

    with serving(app, port=port) as used:
        yield f"http://127.0.0.1:{used}/uploads/{JOB}"
    uploads.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class CuttingProxy:
    """Passes connections on, and cuts each after as many bytes from the client as `cut` says; None never."""

    def __init__(self, url: str, cut: Callable[[], int | None]) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 0)
        self._cut = cut
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = parts._replace(netloc=f"127.0.0.1:{self._listening.getsockname()[1]}").geturl()
        self._start(self._accept)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listening, *self._sockets):
            end.close()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, run: Callable[[], object]) -> None:
        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._to)
            self._sockets += [client, server]
            self._start(partial(self._pass, client, server, self._cut()))
            self._start(partial(self._pass, server, client, None))

    def _pass(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65536):
                if limit is not None and passed + len(data) >= limit:
                    target.sendall(data[: limit - passed])
                    self.cuts += 1
                    break
                target.sendall(data)
                passed += len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other thread
            end.close()  # else what is still sent to us would be taken until the buffers are full


def disk(size: int, seed: int = 1) -> bytes:
    """Bytes that do not shrink, some that do, and zeros."""
    pattern = random.Random(seed).randbytes(1 << 20)
    pieces = [pattern, bytes(1 << 20), (b"phimage %d " % seed) * (1 << 17), pattern[::-1]]
    whole = b"".join(pieces) * (size // sum(len(piece) for piece in pieces) + 1)
    return random.Random(seed + 1).randbytes(7) + whole[: size - 7] if size > 7 else whole[:size]
