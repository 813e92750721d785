"""Proxies before a server: connections that can be cut, refused and stalled, or end by themselves after some bytes."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

PIECE = 16384

PassOn = Callable[[bytes], bytes]
"""What of received bytes is passed on. If that is less than all of them, the connection ends after it."""


def all_of(data: bytes) -> bytes:
    return data


def unix(path: str) -> Callable[[], socket.socket]:
    """Connects to a Unix socket."""

    def connect() -> socket.socket:
        found = socket.socket(socket.AF_UNIX)
        try:
            found.connect(path)
        except OSError:
            found.close()
            raise
        return found

    return connect


def tcp(port: int) -> Callable[[], socket.socket]:
    """Connects to a port of loopback."""
    return lambda: socket.create_connection(("127.0.0.1", port))


class Proxy:
    """Listens on loopback and passes bytes to a server and back.

    `connect` makes a connection to the server. `ways` makes, for each connection, the functions that decide what is passed on
    to the server, and back.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], ways: Callable[[], tuple[PassOn, PassOn]] = lambda: (all_of, all_of)
    ) -> None:
        self._connect = connect
        self._ways = ways
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """End every connection, as a network that lost its state does: with a reset."""
        with self._lock:
            found, self._open = self._open, set()
        for one in found:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def refuse(self) -> None:
        """Take no connection until `allow`, and end those that there are."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def allow(self) -> None:
        """Take connections again, on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._accept()

    def stall(self) -> None:
        """Pass nothing on until `flow`; connections stay, and new ones are taken."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass bytes on again."""
        self._flowing.set()

    def close(self) -> None:
        """End for good."""
        self.flow()
        with suppress(OSError):
            self.refuse()

    def _accept(self) -> None:
        threading.Thread(target=self._take, args=(self._listener,), daemon=True).start()

    def _take(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            there, back = self._ways()
            for source, target, pass_on in ((client, server, there), (server, client, back)):
                threading.Thread(target=self._pump, args=(source, target, pass_on), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, pass_on: PassOn) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                self._flowing.wait()
                passed = pass_on(data)
                target.sendall(passed)
                if len(passed) < len(data):
                    break
        for one in (source, target):
            with self._lock:
                self._open.discard(one)
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the other thread
            one.close()  # else what is still sent to us would be taken until the buffers are full


class CountingProxy(Proxy):
    """Acts once, when a number of a server's bytes was passed; the last of them are not passed on."""

    def __init__(self, port: int) -> None:
        self.passed = 0
        self._at = sys.maxsize
        self._action: Callable[[], object] = lambda: None
        self._counting = threading.Lock()
        super().__init__(tcp(port), lambda: (all_of, self._count))

    def act(self, at: int, action: Callable[[], object]) -> None:
        """Count anew, and call `action` once `at` bytes were passed."""
        with self._counting:
            self.passed, self._at, self._action = 0, at, action

    def _count(self, data: bytes) -> bytes:
        with self._counting:
            self.passed += len(data)
            if self.passed < self._at:
                return data
            self._at, action = sys.maxsize, self._action
        action()
        return b""


class CuttingProxy(Proxy):
    """Ends each connection after as many bytes from the client as `limit` says for it; None for never."""

    def __init__(self, url: str, limit: Callable[[], int | None]) -> None:
        self.cuts = 0
        self._limit = limit
        parts = urlsplit(url)
        super().__init__(tcp(parts.port or 0), lambda: (self._cutting(), all_of))
        self.url = parts._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def _cutting(self) -> PassOn:
        left = self._limit()

        def pass_on(data: bytes) -> bytes:
            nonlocal left
            if left is None:
                return data
            passed = data[:left]
            left -= len(passed)
            self.cuts += len(passed) < len(data)
            return passed

        return pass_on
