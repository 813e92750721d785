"""Databases for every suite: SQLite in a temporary folder, and a real PostgreSQL that starts when it is first asked for."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from phimage.catalog import engine, schema
from phimage.catalog.engine import Database, open_database
from phimage.catalog.engine import database_url as url_of
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.tables import metadata
from phimage.catalog.views import Catalog
from tests import shared
from tests.postgresql import PostgreSQL
from tests.postgresql import start as postgresql_server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; commands started here would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(  # a loaded machine is no failure
    "phimage",
    deadline=None,
    print_blob=True,
    max_examples=100 if "PHIMAGE_TORTURE_EXAMPLES" in os.environ else 40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("phimage")

engine.BUSY_SECONDS = 60  # many writers take turns on a slow disk; tests of a writer that waits in vain set it themselves


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run, in the process that every worker is started by."""
    if not hasattr(config, "workerinput"):
        shared.begin()


def pytest_xdist_auto_num_workers() -> int:
    """Half as many workers again as processors: tests wait for processes and disks a third of their time."""
    return max(2, len(os.sched_getaffinity(0)) * 3 // 2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End it."""
    if not hasattr(config, "workerinput"):
        shared.end()


MASTER_KEY = bytes(range(32))

NewDatabase = Callable[[], AbstractContextManager[str]]
"""Makes a database; gives its address and removes it at the end."""

NewCatalog = Callable[[], AbstractContextManager[Catalog]]
"""Makes a catalogue, empty at revision 0, and removes it at the end. For tests that need more than one."""

Reopen = Callable[[Catalog], Catalog]
"""Opens the database of a catalogue once more, as another process would."""


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The PostgreSQL server of the run."""
    server = PostgreSQL(shared.server("postgresql", postgresql_server), f"test_{shared.worker()}")
    yield server
    server.close()


both_databases = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)
"""For a test that shows that its room works on both, where the other tests of the room run on SQLite in `make test`."""


@pytest.fixture(name="dialect", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.more)])
def sqlite_first(request: pytest.FixtureRequest) -> str:
    """SQLite in `make test` and PostgreSQL in `make test-more`, but for the tests of `both_databases`.

    A module or folder that takes it as its `dialect` shows on PostgreSQL little that no other does.
    """
    found: str = request.param
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each test that uses a database, directly or not, runs on both."""
    found: str = request.param
    return found


@pytest.fixture
def new_database(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """Makes databases without a schema."""
    if dialect == "postgresql":
        return _postgresql_databases(request.getfixturevalue("postgresql"), "template0")
    return _sqlite_databases(tmp_path, None)


@pytest.fixture
def database_url(new_database: NewDatabase, dialect: str) -> Iterator[str]:
    """PHIMAGE_DATABASE of a real process: a database without a schema, or "" for SQLite in the data folder."""
    if dialect == "sqlite":
        yield ""
    else:
        with new_database() as url:
            yield url


@pytest.fixture
def empty_database(new_database: NewDatabase) -> Iterator[Database]:
    """An open database without a schema."""
    with new_database() as url, opened(url) as database:
        yield database


@pytest.fixture
def new_catalog(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> NewCatalog:
    """Makes catalogues. Quick: on SQLite each is a copy of a template, on PostgreSQL they are emptied and used again."""
    if dialect == "postgresql":
        new = request.getfixturevalue("postgresql_catalogues")
    else:
        new = _sqlite_databases(tmp_path, request.getfixturevalue("sqlite_template"))

    @contextmanager
    def catalog() -> Iterator[Catalog]:
        with new() as url, opened(url) as database:
            yield Catalog(database, _key_encryption())

    return catalog


@pytest.fixture
def catalog(new_catalog: NewCatalog) -> Iterator[Catalog]:
    """A catalogue, empty at revision 0."""
    with new_catalog() as found:
        yield found


@pytest.fixture
def reopen() -> Iterator[Reopen]:
    """Opens databases once more, and closes them."""
    opened: list[Database] = []

    def again(catalog: Catalog) -> Catalog:
        opened.append(open_database(catalog.database.engine.url))
        return Catalog(opened[-1], _key_encryption())

    yield again
    for database in opened:
        database.close()


@pytest.fixture(scope="session")
def postgresql_catalogues(postgresql: PostgreSQL) -> NewDatabase:
    """Makes databases with the schema and nothing else. One that was used is emptied, which is quicker than a new one."""
    template = postgresql.create()
    with opened(postgresql.url(template)) as database:
        schema.create_or_check(database)
    # Not TRUNCATE: it makes new files for every table and index.
    tables = "; ".join(f'DELETE FROM "{name}"' for name in metadata.tables if name != "head")
    emptying = f"{tables}; UPDATE head SET number = 0, time = 0"
    empty: list[str] = []

    @contextmanager
    def new() -> Iterator[str]:
        name = empty.pop() if empty else postgresql.create(template)
        try:
            yield postgresql.url(name)
        finally:
            try:
                postgresql.run(name, emptying)
                empty.append(name)
            except psycopg.Error:  # someone holds it still
                postgresql.drop(name)

    return new


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema and nothing else."""
    path = tmp_path_factory.mktemp("template") / "catalog.sqlite"
    with opened(f"sqlite:///{path}") as database:
        schema.create_or_check(database)
    return path


def _postgresql_databases(server: PostgreSQL, template: str) -> NewDatabase:
    @contextmanager
    def new() -> Iterator[str]:
        name = server.create(template)
        try:
            yield server.url(name)
        finally:
            server.drop(name)

    return new


def _sqlite_databases(folder: Path, template: Path | None) -> NewDatabase:
    numbers = count(1)

    @contextmanager
    def new() -> Iterator[str]:
        path = folder / f"catalog{next(numbers)}.sqlite"
        if template is not None:
            shutil.copyfile(template, path)
        yield f"sqlite:///{path}"
        path.unlink(missing_ok=True)

    return new


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """An open database."""
    database = open_database(url_of(url, Path()))
    try:
        yield database
    finally:
        database.close()


def _key_encryption() -> KeyEncryption:
    nonces = count(1)
    return KeyEncryption(MASTER_KEY, lambda length: next(nonces).to_bytes(length, "big"))
