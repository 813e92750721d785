"""Downloads on a real server, as a process: `python -m tests.delivery_server CONFIG`. Its door is open to everyone."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server
from msgspec import Struct

from phimage.chunks.factory import open_store
from phimage.delivery.app import Delivery
from phimage.delivery.counters import Counters
from phimage.delivery.packs import Packs
from phimage.delivery.stream import Limits, Message, Receive, Send
from phimage.model.image_bytes import ImageBytes
from tests.delivering import Keeper


class Config(Struct, frozen=True):
    """What is served, and how."""

    store: str
    packs: str
    port: int
    contents: tuple[ImageBytes, ...]
    packs_bytes: int = 1 << 30
    at_once: int = 64
    stall: float = 60.0


class State(Struct, frozen=True):
    """What `/state` tells a test."""

    process: int
    counters: Counters


def build(config: Config) -> Callable[[Message, Receive, Send], Awaitable[None]]:
    store = open_store(config.store)
    packs = Packs(store, Path(config.packs), config.packs_bytes)
    limits = Limits(stall=config.stall)
    delivery = Delivery(
        store, Keeper(*config.contents), lambda _: "127.0.0.1", lambda: str(uuid.uuid4()), packs, config.at_once, limits
    )

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
    server = Server(
        "downloads",
        address="127.0.0.1",
        port=config.port,
        interface=Interfaces.ASGINL,
        workers=1,
        websockets=False,
        http1_settings=HTTP1Settings(keep_alive=True),
        log_level=LogLevels.warning,
        workers_kill_timeout=5,
    )
    server.serve(target_loader=lambda *_: build(config), wrap_loader=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
