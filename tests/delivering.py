"""Downloads without a server: disks in a store, an authorizer that the test controls, and a client of the application."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from phimage.chunks.layout import ManifestDigest
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written
from phimage.delivery.app import Delivery
from phimage.delivery.authorizer import DownloadAccessRequest, DownloadGrant, NotPublished
from phimage.delivery.representation import Bytes, Piece
from phimage.delivery.stream import DownloadLimits
from phimage.errors import UnavailableParam
from phimage.http.asgi import Message
from phimage.model.ids import ImageId, ProjectId
from phimage.model.image_bytes import ImageBytes

IMAGE = ImageId("pimg-cs-xev4rz2k")
CHUNK = 64 << 10
PUBLISHED = 1_795_000_000
FORMS = (".raw", ".raw.zst", ".qcow2", ".sha256", "/frames", "/manifest")


@cache
def disk_bytes(chunks: int = 20, tail: int = 512 * 5) -> bytes:
    """A disk with zeros at its beginning, in the middle and before its short last chunk; some of the rest compresses."""
    some = random.Random(chunks)
    pieces = [
        bytes(CHUNK) if number in (0, chunks // 2, chunks // 2 + 1, chunks - 1)
        else some.randbytes(CHUNK // 2).hex().encode() if number % 3 == 0
        else some.randbytes(CHUNK)
        for number in range(chunks)
    ]  # fmt: skip
    return b"".join(pieces) + some.randbytes(tail)


def write_disk(store: Store, disk: bytes | memoryview, chunk_size: int = CHUNK) -> Written:
    """Put a disk into a store."""
    with DiskWriter(store, len(disk), chunk_size=chunk_size, workers=2) as writer:
        writer.write(disk)
        return writer.finish({"os": "example"})


def content_of(written: Written, image: ImageId = IMAGE) -> ImageBytes:
    """What the catalogue says of a written disk."""
    manifest = written.manifest
    return ImageBytes(
        image,
        ProjectId(""),
        manifest=written.digest,
        sha256=manifest.sha256,
        size=manifest.size,
        published=PUBLISHED,
    )


class FakeAuthorizer:
    """An authorizer that admits every client to some images. `before` may refuse a request by raising.

    `holder` returns account, project and permit of a request, by default its own.
    """

    def __init__(self, *contents: ImageBytes, before: Callable[[DownloadAccessRequest], object] = lambda _: None) -> None:
        self.contents = {content.image: content for content in contents}
        self.requests: list[DownloadAccessRequest] = []
        self.before = before
        self.holder: Callable[[DownloadAccessRequest], tuple[str, str, str]] = lambda request: (request.request_id,) * 3

    def authorize(self, request: DownloadAccessRequest) -> DownloadGrant:
        self.requests.append(request)
        self.before(request)
        if request.image not in self.contents:
            raise UnavailableParam("ImageId", detail="there is no such image", http_status=404)
        content = self.contents[request.image]
        if not content.stored:
            raise NotPublished(request.image, "Making")
        return DownloadGrant(content, *self.holder(request))


class Answered(Struct, frozen=True):
    """What a client got. `whole` is False when the body ended without its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool


class Client:
    """Asks an application."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", query: str = "", settle: bool = False
    ) -> Answered:
        """One request. With `settle`, wait for what the application does in the background."""
        return self.ask_in_turn(path, [headers or {}], method, query, settle)[0]

    def ask_in_turn(
        self, path: str, headers: Sequence[Mapping[str, str]], method: str = "GET", query: str = "", settle: bool = False
    ) -> list[Answered]:
        """One request after another, in one event loop of their own."""
        answers: list[Answered] = []

        async def main() -> None:  # returns nothing: asyncio.run writes a main task's result out in full, and forgets it
            answers.extend(await self.ask_many(path, headers, method, query, settle))

        asyncio.run(main())
        return answers

    async def ask_many(
        self, path: str, headers: Sequence[Mapping[str, str]], method: str = "GET", query: str = "", settle: bool = False
    ) -> list[Answered]:
        """One request after another."""
        answers = [await self._ask(path, each, method, query) for each in headers]
        if settle:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await asyncio.gather(*others, return_exceptions=True)
        return answers

    async def _ask(self, path: str, headers: Mapping[str, str], method: str, query: str) -> Answered:
        sent: list[Message] = []
        never = asyncio.Event()

        async def receive() -> Message:
            await never.wait()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        await self._delivery(scope_of(path, headers, method, query), receive, send)
        return answered(sent)


def scope_of(path: str, headers: Mapping[str, str], method: str = "GET", query: str = "") -> Message:
    """A request as the server hands it over."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }


def answered(sent: list[Message]) -> Answered:
    """What the messages of an application mean."""
    start, *rest = sent
    assert start["type"] == "http.response.start"
    names = [name.decode() for name, _ in start["headers"]]
    assert len(set(names)) == len(names)
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    body = b"".join(message["body"] for message in rest)
    assert all(message.get("more_body") for message in rest[:-1])
    return Answered(start["status"], headers, body, whole=bool(rest) and not rest[-1].get("more_body", False))


def delivery_of(store: Store, authorizer: FakeAuthorizer, limits: DownloadLimits | None = None) -> Delivery:
    """The application."""
    return Delivery(store, authorizer, lambda _: "127.0.0.1", lambda: str(uuid.uuid4()), limits)


# fixtures for modules that have a `store`


@pytest.fixture
def written(store: Store) -> Written:
    return write_disk(store, disk_bytes())


@pytest.fixture
def authorizer(written: Written) -> FakeAuthorizer:
    return FakeAuthorizer(content_of(written))


@pytest.fixture
def delivery(store: Store, authorizer: FakeAuthorizer) -> Iterator[Delivery]:
    found = delivery_of(store, authorizer)
    yield found
    found.close()


@pytest.fixture
def client(delivery: Delivery) -> Client:
    return Client(delivery)


def make_piece(piece: Piece) -> Bytes:
    """The bytes of a piece."""
    made = piece() if callable(piece) else piece
    return b"".join(made) if isinstance(made, list) else made


def chunk_at(written: Written, index: int) -> str:
    """The hexadecimal digest of a chunk."""
    digest = written.manifest.chunk(index)
    assert digest is not None
    return digest.hex()


def sha256_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The events that were logged since the last call."""
    return [msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


def manifest_digest(written: Written) -> ManifestDigest:
    return written.digest
