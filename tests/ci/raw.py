"""Requests over bare sockets: a fault is judged by what really arrives."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from phimage.client import Client
from phimage.model.account import PrivateKey
from phimage.pytest import PhimageKeys, PhimageWorld

SECONDS = 60


class Arrived(NamedTuple):
    """What arrived until the connection ended: `reset` says that it ended with a TCP reset."""

    data: bytes
    reset: bool

    @property
    def status(self) -> int:
        """The status."""
        return int(self.data.split(b" ", 2)[1])

    @property
    def header(self) -> str:
        """The header, in lower case."""
        return self.data.partition(b"\r\n\r\n")[0].decode("latin-1").lower()

    @property
    def body(self) -> bytes:
        """The body, or what there is of it."""
        return self.data.partition(b"\r\n\r\n")[2]


def signed(keys: PhimageKeys, action: str, **params: Any) -> str:
    """The query of a call with a signature of version 1."""
    with Client("http://unused", keys.public, PrivateKey(keys.private)) as signer:
        return urlencode(signer.signed(action, **params))


def listing(world: PhimageWorld, **params: Any) -> str:
    """The query of a list."""
    return signed(world.keys, "DescribePHostImage", Region=world.region, Zone=world.zone, **params)


def get(url: str, seconds: float = SECONDS) -> Arrived:
    """GET a URL over a socket of its own, and read until the connection ends."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    data = bytearray()  # a disk arrives in thousands of pieces
    with socket.create_connection((parts.hostname, parts.port or 80), seconds) as connection:
        target = f"{parts.path or '/'}?{parts.query}"
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        while True:
            try:
                piece = connection.recv(1 << 16)
            except ConnectionResetError:
                return Arrived(bytes(data), True)
            if not piece:
                return Arrived(bytes(data), False)
            data += piece
