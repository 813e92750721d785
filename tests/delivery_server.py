"""Downloads on a real server, as a process: `python -m tests.delivery_server CONFIG`. It admits everyone."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from phimage.chunks.factory import open_store
from phimage.delivery.app import Delivery
from phimage.delivery.stream import DownloadLimits
from phimage.http.asgi import Message, Receive, Send
from phimage.http.counters import DownloadCounters
from phimage.http.min_rate import MinRate
from phimage.model.image_bytes import ImageBytes
from tests.delivering import FakeAuthorizer
from tests.serving import serve_forever


class Config(Struct, frozen=True):
    """What is served, and how."""

    store: str
    port: int
    contents: tuple[ImageBytes, ...]
    concurrent: int = 64
    stall: float = 60.0
    min_rate: MinRate = MinRate()


class State(Struct, frozen=True):
    """The response of `/state`."""

    process: int
    counters: DownloadCounters


def build(config: Config) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    store = open_store(config.store)
    limits = DownloadLimits(concurrent=config.concurrent, stall=config.stall, min_rate=config.min_rate)
    delivery = Delivery(store, FakeAuthorizer(*config.contents), lambda _: "127.0.0.1", lambda: str(uuid.uuid4()), limits)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/state":
            state = msgspec.json.encode(State(os.getpid(), delivery.counters))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": state})
        elif scope["type"] == "http":
            await delivery(scope, receive, send)

    return app


def main(path: str) -> None:
    config = msgspec.json.decode(Path(path).read_bytes(), type=Config)
    serve_forever(lambda: build(config), config.port)


if __name__ == "__main__":
    main(*sys.argv[1:])
