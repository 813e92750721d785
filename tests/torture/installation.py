"""An installation that publishes, as real processes that may be killed and started again on the same port and folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from phimage import catalog_file
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.client import Client
from phimage.installation import open_catalog
from phimage.model.account import PrivateKey
from phimage.model.ids import ImageId
from phimage.model.image import Image
from phimage.model.image_bytes import ImageBytes
from phimage.settings import Settings
from tests.e2e.process import Key, Phimage, Server, Worker
from tests.uploading import port_of, reserved_port

SECONDS = 240
"""A loaded machine is no failure."""


class Installation:
    """A home with a data folder. `start` and `kill` its server as often as wanted; what it published is in the store."""

    def __init__(self, folder: Path, **variables: str) -> None:
        quick = {
            "PHIMAGE_PUBLISHERS": "1",
            "PHIMAGE_LEASE_SECONDS": "1",
            "PHIMAGE_MIN_FREE_MB": "0",
            "PHIMAGE_DATA_DIR": str(folder / "home" / "data"),
        }
        fetching = {"PHIMAGE_FETCH_NETWORKS": "127.0.0.0/8", "PHIMAGE_FETCH_PORTS": ""}
        self._reserved = reserved_port()
        self.port = port_of(self._reserved)
        self.settings = Settings(
            data_dir=str(folder / "home" / "data"),
            database=variables.get("PHIMAGE_DATABASE", ""),
            store=variables.get("PHIMAGE_STORE", ""),
        )
        self.home = Phimage(folder / "home", PHIMAGE_PORT=str(self.port), **{**quick, **fetching, **variables})
        self.data = folder / "home" / "data"
        self.server: Server | None = None
        self.cli = self.home
        self.key = Key("", "")

    def start(self, under: tuple[str, ...] = ()) -> Server:
        """Start the server; with the starter catalogue when it is the first time. `under`: a program that starts it."""
        self.server = Server(self.home, "serve", under=under)
        key = self.server.new_key
        if key is not None:
            self.key = key
            self.cli = self.home.using(self.server.url, key)
            self.cli.well("catalog", "apply", "-", text=catalog_file.starter())
        return self.server

    def kill(self) -> None:
        """SIGKILL to the server, which takes its workers and publishers along."""
        assert self.server is not None
        self.server.kill(SECONDS)
        self.server = None

    def stop(self) -> None:
        """SIGTERM to the server, and wait until all of it has ended."""
        if self.server is not None:
            self.server.stop(SECONDS)
        self.server = None

    def end_traced(self) -> None:
        """SIGTERM to a server below the program that started it, which ends with it."""
        assert self.server is not None
        server, main = self.server, self.server.workers()[0]
        os.kill(main.pid, signal.SIGTERM)
        eventually(lambda: not main.alive(), "the server does not end")
        server.stop(SECONDS)
        self.server = None

    def publisher(self) -> Worker | None:
        """The publisher process of the server, if it runs now."""
        assert self.server is not None
        for worker in self.server.workers():
            with suppress(OSError):
                if b"publisher" in Path(f"/proc/{worker.pid}/cmdline").read_bytes().split(b"\0"):
                    return worker
        return None

    def client(self) -> Client:
        """A signed client with the operator's key."""
        return Client(f"http://127.0.0.1:{self.port}", self.key.public, PrivateKey(self.key.private))

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue, looked at from beside the server."""
        return open_catalog(self.settings)

    @cached_property
    def store(self) -> Store:
        """The store, looked at from beside the server."""
        return open_store(self.settings.store_place)

    def contents(self) -> dict[ImageId, ImageBytes]:
        """What is known of the bytes of every image that was published here, or is to be."""
        with self.catalog.database.read() as connection:
            return {content.image: content for content in IMAGE_BYTES.live(connection)}

    def image(self, id: ImageId) -> Image | None:
        """An image as it is now."""
        with self.catalog.database.read() as connection:
            return IMAGES.find(connection, id)

    def age(self, seconds: float) -> None:
        """Let time pass for the bytes in a folder, while nobody works on them."""
        for folder in ("chunks", "manifests", ".tmp"):
            for path in (self.data / "store" / folder).rglob("*"):
                if path.is_file():
                    at = path.stat().st_mtime - seconds
                    os.utime(path, (at, at))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if "catalog" in self.__dict__:
            self.catalog.database.close()
        if "store" in self.__dict__:
            self.store.close()
        if self.server is not None:
            self.kill()
        self._reserved.close()


def publish_command(source: str, name: str, *options: str) -> tuple[str, ...]:
    """A command that publishes a base image of the starter catalogue's first zone."""
    said = ("--name", name, "--os-type", "Debian", "--os-name", "Debian 12 64bit", "--zone", "cn-bj2-02", "--support", "DB-2")
    return ("image", "publish", source, "--type", "base", *said, "--trust-first-use", *options)


def eventually(condition: Callable[[], bool], told: str) -> None:
    """Wait for something that must happen."""
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends, told
        time.sleep(0.02)
