"""The real HTTP server, inside a test or as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from phimage.http.asgi import Application
from phimage.processes import http_server
from phimage.processes.connections import ConnectionLimits
from phimage.processes.http_server import BACKLOG, HttpServer


@contextmanager
def serving(application: Application, limits: ConnectionLimits | None = None, port: int = 0, **options: Any) -> Iterator[int]:
    """The port of a server that runs in a thread."""
    started = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve(listener: socket.socket) -> None:
        server, stopping = HttpServer(application, limits, **options), asyncio.Event()
        loops.append((asyncio.get_running_loop(), stopping))
        server.start(listener)
        started.set()
        await stopping.wait()
        await server.stop(drain=60)

    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG) as listener:
        thread = threading.Thread(target=lambda: http_server.run(serve(listener)))
        thread.start()
        started.wait()
        try:
            yield listener.getsockname()[1]
        finally:
            loop, stopping = loops[0]
            loop.call_soon_threadsafe(stopping.set)
            thread.join()


def serve_forever(build: Callable[[], Application], port: int) -> None:
    """Serve an application in this process until SIGTERM."""

    async def main() -> None:
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        server = HttpServer(build())
        with socket.create_server(("127.0.0.1", port), backlog=BACKLOG) as listener:
            server.start(listener)
            await stopping.wait()
            await server.stop(drain=5)

    http_server.run(main())
