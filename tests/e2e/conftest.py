"""Real servers: a demonstration, installations with the starter catalogue, and empty ones.

Each is on SQLite with a folder for bytes; `make test-more` runs the tests once more on PostgreSQL with S3.

Those of the session are shared: their tests only read, or change what no other test looks at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ucloud.client import Client as SdkClient

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.conftest import sqlite_first
from tests.contract import stores
from tests.contract.stores import KEYS, S3Server
from tests.e2e.process import OPEN_UMASK, Key, Phimage, Server
from tests.examples import PRIVATE_KEY, PUBLIC_KEY

s3 = stores.s3

DEMO_KEY = Key(PUBLIC_KEY, PRIVATE_KEY)

Sdk = Callable[..., Any]
"""Makes a client of the official SDK: `sdk(url, key, project_id=...)`."""


class Installation(NamedTuple):
    """A server, its operator's key, and the command line with that key."""

    server: Server
    key: Key
    phimage: Phimage

    @property
    def url(self) -> str:
        return self.server.url

    def client(self) -> Client:
        """A signed client with the operator's key."""
        return Client(self.url, self.key.public, PrivateKey(self.key.private))


on_sqlite = pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
"""For tests of what is the same on every database: processes take their time."""

Serve = Callable[..., AbstractContextManager[Server]]
"""Starts `phimage serve` on the test's own data folder and database; arguments are added."""


dialect = sqlite_first


@pytest.fixture(scope="session", autouse=True)
def quiet_sdk() -> None:
    logging.getLogger("ucloud").disabled = True


@pytest.fixture(scope="session")
def sdk() -> Sdk:
    def client(url: str, key: Key = DEMO_KEY, **config: Any) -> Any:
        keys = {"public_key": key.public, "private_key": key.private}
        return SdkClient({"base_url": url, "region": "cn-bj2", **keys, **config})

    return client


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`phimage demo`, serving. Nothing changes its catalogue."""
    with Server(Phimage(tmp_path_factory.mktemp("demo")), "demo", "--port", "0", under=OPEN_UMASK) as server:
        yield server


@pytest.fixture
def demo_cli(demo: Server, tmp_path: Path) -> Phimage:
    """The command line with the demonstration's key, zone and project."""
    places = {"PHIMAGE_REGION": "cn-bj2", "PHIMAGE_ZONE": "cn-bj2-02"}
    return Phimage(tmp_path).using(demo.url, DEMO_KEY, **places)


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.more)])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with the starter catalogue, and room for tenants. Nothing changes its catalogue."""
    database, store = "", {}
    if request.param == "postgresql":
        postgresql = request.getfixturevalue("postgresql")
        database, store = postgresql.url(postgresql.create()), in_s3(request.getfixturevalue("s3"))
    home = Phimage(tmp_path_factory.mktemp("installation"), PHIMAGE_PUBLISHERS="1", **store)
    with _serving(home, database) as server:
        found = _installation(server, home)
        found.phimage.well("catalog", "apply", "-", text=starter())
        yield found


@pytest.fixture
def home(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Phimage:
    """The command line in a home of the test's own, which knows where the bytes are."""
    return Phimage(tmp_path / "home", **in_s3(request.getfixturevalue("s3")) if dialect == "postgresql" else {})


@pytest.fixture
def serve(home: Phimage, database_url: str) -> Serve:
    def start(*arguments: str, under: tuple[str, ...] = ()) -> AbstractContextManager[Server]:
        return _serving(home, database_url, *arguments, under=under)

    return start


@pytest.fixture
def fresh(serve: Serve, home: Phimage) -> Iterator[Installation]:
    """A server with an empty catalogue, for one test alone."""
    with serve() as server:
        yield _installation(server, home)


def in_s3(s3: S3Server) -> dict[str, str]:
    """The variables of a process whose bytes are in a new place in S3."""
    return {"PHIMAGE_STORE": s3.new_address(), **KEYS}


def starter() -> str:
    """The catalogue that ships with phimage."""
    from phimage import catalog_file

    return catalog_file.starter()


@contextmanager
def _serving(phimage: Phimage, database: str, *arguments: str, under: tuple[str, ...] = ()) -> Iterator[Server]:
    with Server(
        phimage, "serve", "--port", "0", "--data-dir", "data", "--database", database, *arguments, under=under
    ) as server:
        yield server


def _installation(server: Server, phimage: Phimage) -> Installation:
    assert server.new_key is not None
    return Installation(server, server.new_key, phimage.using(server.url, server.new_key))
