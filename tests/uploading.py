"""Uploads on a real server inside the test, an authorizer that the test controls, and a proxy that cuts connections."""

from __future__ import annotations

import random
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

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


_held: list[socket.socket] = []


def free_port() -> int:
    """A port on which servers can listen, one after the other, and that nobody else gets while this process lives.

    A socket is bound to it that does not listen: so connections are refused while there is no server.
    """
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", 0))
    _held.append(found)
    port: int = found.getsockname()[1]
    return port


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def disk(size: int, seed: int = 1) -> bytes:
    """Bytes that do not shrink, some that do, and zeros."""
    pattern = random.Random(seed).randbytes(1 << 20)
    pieces = [pattern, bytes(1 << 20), (b"phimage %d " % seed) * (1 << 17), pattern[::-1]]
    whole = b"".join(pieces) * (size // sum(len(piece) for piece in pieces) + 1)
    return random.Random(seed + 1).randbytes(7) + whole[: size - 7] if size > 7 else whole[:size]
