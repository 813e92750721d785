"""A real server with the demonstration's catalogue, and a key of its operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.process import Key, Phimage, Server


class Served(NamedTuple):
    """A server that answers. `phimage` is the command line, calling it with the operator's key."""

    url: str
    key: Key
    phimage: Phimage

    def client(self, key: Key | None = None, path: str = "") -> Client:
        """A client with a key, by default the operator's, below a path."""
        public, private = key or self.key
        return Client(self.url + path, public, PrivateKey(private))


@contextmanager
def demo(home: Path) -> Iterator[Served]:
    """`phimage demo` on a free port, everything in a folder."""
    bare = Phimage(home, PHIMAGE_ALLOW_LEGACY_OPERATOR_SIGNATURES="true")  # schemathesis signs what it sends as parameters
    with Server(bare, "demo", "--port", "0", "--data-dir", "demo") as server:
        found = bare.json("key", "recover", "--data-dir", "demo")
        key = Key(found["PublicKey"], found["PrivateKey"])
        yield Served(server.url, key, bare.using(server.url, key))
