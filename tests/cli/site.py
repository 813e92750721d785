"""A server for mistakes and hints: the demonstration's catalogue and disk, users of every kind, and no publisher."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct

from phimage import demo as demonstration
from phimage.client import Client
from phimage.model.account import PrivateKey
from phimage.settings import Settings
from tests.e2e.process import Key, Phimage, Server


class Site(Struct, frozen=True):
    """A server without publishers, which has the disk of the demonstration, and the keys of its users."""

    server: Server
    keys: dict[str, Key]
    data: Path
    closed: str

    def client(self) -> Client:
        """The operator."""
        return Client(self.server.url, self.keys["operator"].public, PrivateKey(self.keys["operator"].private))


@contextmanager
def running(home: Phimage) -> Iterator[Site]:
    """Start it."""
    data = home.home / "data"
    demonstration.fill(Settings(data_dir=str(data), min_free_mb=64))
    made = home.json("key", "recover", "--data-dir", str(data))
    operator = Key(made["PublicKey"], made["PrivateKey"])
    logging = Phimage(home.home, PHIMAGE_LOG_REQUESTS="true")
    with closing(socket.socket()) as taken, Server(logging, "serve", "--port", "0", "--data-dir", str(data)) as server:
        taken.bind(("127.0.0.1", 0))  # and never listens, so nobody else can have the port
        cli = home.using(server.url, operator)
        walled = cli.json("account", "add", "walled", "--zone", "cn-bj2-02")
        cli.well("user", "add", "alice", "--account", "walled")
        alice = cli.json("key", "create", "--account", "walled", "--user", "alice")
        keys = {name: Key(one["PublicKey"], one["PrivateKey"]) for name, one in {"walled": walled, "alice": alice}.items()}
        tenant = Key(demonstration.PUBLIC_KEY, demonstration.PRIVATE_KEY.reveal())
        yield Site(
            server,
            {"operator": operator, "tenant": tenant, **keys},
            data,
            f"http://127.0.0.1:{taken.getsockname()[1]}",
        )
