"""An ASGI application on a listening socket: accepting connections, and ending them without losing a request.

This module and its neighbours `http1`, `http_request` and `connections` are all that knows the HTTP server.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Any, TypeVar

import uvloop

from phimage.http.asgi import Application, KnownResponses, Message, no_known_response
from phimage.http.counters import ConnectionCounters
from phimage.processes.connections import SWEEP_SECONDS, ConnectionLimits, Connections
from phimage.processes.http1 import HttpConnection

BACKLOG = 2048
"""Connections that wait for a worker to accept them."""
_ACCEPTS = 8
"""Connections accepted at a time."""
_TURN_SECONDS = 0.001
"""Pause after that, in which other workers wake up and take their share."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_ROOM_SECONDS = 0.1
_TLS_SHUTDOWN_SECONDS = 5.0

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in an event loop of the kind that the server needs."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


# docs/decisions.md#the-server-is-our-own-protocol-over-httptools-and-uvloop
class HttpServer:
    """Serves an ASGI application, in the running event loop."""

    def __init__(
        self,
        application: Application,
        limits: ConnectionLimits | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        counters: ConnectionCounters | None = None,
        is_exempt: Callable[[str], bool] = lambda address: ip_address(address).is_loopback,
        shares_listener: bool = False,
        known_responses: KnownResponses = no_known_response,
    ) -> None:
        """`is_exempt` returns whether an address may have any number of connections. `shares_listener`: other processes accept
        from the same socket."""
        self._shares_listener = shares_listener
        self._application = application
        self._known_responses = known_responses
        self._tls = tls
        self._connections = Connections(limits or ConnectionLimits(), counters or ConnectionCounters(), is_exempt)
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._sweeper = self._loop.create_task(self._sweep())

    def start(self, listener: socket.socket) -> None:
        """Accept connections of a listening socket. Other processes may accept from it too."""
        listener.setblocking(False)
        self._connections.sweep(self._loop.time())
        self._listener = listener
        self._loop.add_reader(listener, self._accept)

    async def stop(self, drain: float, idle: float = 0.0) -> None:
        """Accept no more, answer what was requested, and end. Connections that are open after `drain` seconds are cut.

        Connections that have been idle for `idle` seconds are closed. Until then a request on them is answered.
        """
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
        connections = self._connections
        connections.draining = True
        ends = self._loop.time() + drain
        while connections.open and self._loop.time() < ends:
            connections.sweep(self._loop.time())
            connections.close_idle(idle)
            await asyncio.sleep(0.02)
        self._sweeper.cancel()
        for handshake in self._handshakes:
            handshake.cancel()
        connections.abort_all()
        await asyncio.sleep(0)

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(_ACCEPTS):
            try:
                accepted, address = self._listener.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:  # trying on would keep the event loop busy
                    self._pause_accepting(_NO_ROOM_SECONDS)
                return  # nothing is left, or the client is gone
            if not self._connections.admit(address[0]):
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._connect(accepted, address))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
        if self._shares_listener:
            self._pause_accepting(_TURN_SECONDS)

    def _pause_accepting(self, seconds: float) -> None:
        """Accept again in a moment."""
        assert self._listener is not None
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self._listener is not None and not self._connections.draining:
            self._loop.add_reader(self._listener, self._accept)

    async def _connect(self, accepted: socket.socket, address: tuple[Any, ...]) -> None:
        protocol = HttpConnection(self._application, self._connections, address, self._known_responses)
        limits: dict[str, float] = {}
        if self._tls is not None:
            limits = {
                "ssl_handshake_timeout": self._connections.limits.header,
                "ssl_shutdown_timeout": _TLS_SHUTDOWN_SECONDS,
            }
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self._tls, **limits)
        except OSError:  # a handshake failed or took too long
            pass
        finally:
            if not protocol.was_connected:
                accepted.close()
                self._connections.release(address[0])

    async def _sweep(self) -> None:
        while True:
            self._connections.sweep(self._loop.time())
            await asyncio.sleep(SWEEP_SECONDS)


@asynccontextmanager
async def lifespan(application: Application) -> AsyncIterator[None]:
    """Start an application, and end it. An application without these events is left alone."""
    events: asyncio.Queue[Message] = asyncio.Queue()
    answered = asyncio.Event()

    async def send(message: Message) -> None:
        answered.set()

    async def step(kind: str) -> None:
        answered.clear()
        events.put_nowait({"type": kind})
        waiting = asyncio.ensure_future(answered.wait())
        await asyncio.wait([waiting, life], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if life.done():
            life.result()

    life = asyncio.ensure_future(application({"type": "lifespan"}, events.get, send))
    await step("lifespan.startup")
    try:
        yield
    finally:
        if not life.done():
            await step("lifespan.shutdown")
        with suppress(asyncio.CancelledError):
            life.cancel()
            await life
