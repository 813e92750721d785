"""A connection whose transport is the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

from phimage.http.asgi import Message, Receive, Send
from phimage.http.counters import ConnectionCounters
from phimage.processes.connections import ConnectionLimits, Connections
from phimage.processes.http1 import HttpConnection


class EndedTransport(asyncio.Transport):
    """A transport whose TLS has ended: it has no socket any more, and its connection has not been told yet."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.ends.append("closed")

    def abort(self) -> None:
        self.ends.append("aborted")


async def never(scope: Message, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing was asked")


def test_a_connection_without_a_socket_is_closed_and_reset() -> None:
    async def end() -> list[str]:
        connections = Connections(ConnectionLimits(), ConnectionCounters(), lambda address: False)
        connection, transport = HttpConnection(never, connections, ("127.0.0.1", 5)), EndedTransport()
        connection.connection_made(transport)
        connection.close()
        connection.reset()
        return transport.ends

    assert asyncio.run(end()) == ["closed", "aborted"]
