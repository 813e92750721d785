"""A watch over one connection: it cuts a connection that keeps a reader waiting for too long, however busy it looks, and one
whose work is cancelled.

The timeout of a socket starts anew with each byte, so a server that sends one now and then holds a reader for ever, in
the middle of a status line, of endless headers, of the size of a chunk. The watch is another thread and does not care where.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final

TICK: Final = 0.25


class Watch:
    """Cuts a connection when its reader has waited until the moment given to `until`. Close it when done."""

    def __init__(self, connection: socket.socket, tick: float = TICK, cancel: threading.Event | None = None) -> None:
        """`connection` may be wrapped in TLS, or be closed before the watch is: the watch holds the bare one beneath.

        It may still be unconnected: cutting it ends a `connect` as well. Setting `cancel` cuts it within a tick.
        """
        self.cut = False
        self._bare = socket.socket(fileno=os.dup(connection.fileno()))
        self._moment = math.inf
        self._tick = tick
        self._cancel = cancel or threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="source-watch", daemon=True)
        self._thread.start()

    def until(self, moment: float) -> None:
        """The reader begins to wait, and may do so until this moment of `time.monotonic`."""
        self._moment = moment

    def rest(self) -> None:
        """The reader waits no longer."""
        self._moment = math.inf

    def close(self) -> None:
        """End the watch. May be repeated."""
        self._closing.set()
        self._thread.join()
        self._bare.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closing.wait(self._tick):
            if time.monotonic() >= self._moment or self._cancel.is_set():
                self.cut = True
                with suppress(OSError):  # the other side was quicker
                    self._bare.shutdown(socket.SHUT_RDWR)
                return
