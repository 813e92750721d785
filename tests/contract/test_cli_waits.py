"""Commands whose database or store is away or locked: they say what they wait for, and give up at the limit."""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest
from sqlalchemy import text

from phimage.catalog import schema
from phimage.catalog.address import database_url
from phimage.catalog.engine import open_database
from phimage.chunks.decorators import persistent
from phimage.chunks.errors import Reason, StoreFailure
from phimage.chunks.folder import FolderStore
from phimage.cli import installation
from phimage.cli.exit_codes import run_to_exit_code
from phimage.errors import Locked, Unreachable
from phimage.installation import prepare
from phimage.settings import Settings
from phimage.waiting import Patience
from tests.commands import Result, run
from tests.contract.stores import KEYS
from tests.postgresql import PostgreSQL
from tests.proxy import Proxy, unix

WAIT = ("--wait", "0.4")
LIMIT, NOTICE = 0.4, 0.02
LOCKED, AWAY = 75, 69


class Naps:
    """Time that passes where a command pauses between two attempts, and nowhere else: an attempt may take any time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def noted(self) -> None:
        """A notice was written."""

    def patience(self, announce: Callable[[str], object], limit: float, notice: float) -> Patience:
        """The patience of a command, which announces early."""

        def note(text: str) -> None:
            announce(text)
            self.noted()

        return Patience(note, limit, NOTICE, self, self.sleep)

    def run(self, *command: str | Path, wait: tuple[str, ...] = WAIT) -> Result:
        """Run a command to its end."""
        with patch.object(installation, "Patience", self.patience):
            return run(*command, *wait)


class NoAnswer(Naps):
    """The one attempt of a command gets no answer. Its limit comes when its notice was written, however long that takes."""

    def __init__(self) -> None:
        super().__init__()
        self._noted = threading.Event()
        self._begun = False
        self._thread = threading.get_ident()

    def __call__(self) -> float:
        if threading.get_ident() != self._thread:  # which looks after it
            return LIMIT / 2
        if not self._begun:
            self._begun = True
            return 0.0
        assert self._noted.wait(60)
        return LIMIT

    def noted(self) -> None:
        self._noted.set()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    prepare(Settings(data_dir=str(found)))
    return found


@pytest.fixture(scope="module")
def proxy(postgresql: PostgreSQL) -> Iterator[Proxy]:
    found = Proxy(unix(postgresql.socket))
    yield found
    found.close()


class Installed:
    """An installation on PostgreSQL behind a proxy."""

    def __init__(self, data: Path, postgresql: PostgreSQL, proxy: Proxy) -> None:
        name = postgresql.create()
        self.direct = postgresql.url(name)
        self.url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"
        self.options = ("--data-dir", str(data), "--database", self.url)
        prepare(Settings(data_dir=str(data), database=self.url))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL, proxy: Proxy) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed") / "data", postgresql, proxy)


def gave_up(result: Result, code: int, what: str, reason: str = "") -> None:
    assert (result.code, result.out) == (code, "")
    waiting, ended = result.err.splitlines()
    assert waiting.startswith(f"waiting for the {what}"), result.err
    assert ended.startswith(f"phimage: gave up waiting for the {what}"), result.err
    assert reason in ended
    assert "run the same command again" in ended


def writing(path: Path) -> sqlite3.Connection:
    """Holds the write lock of an SQLite file until it is closed."""
    held = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    held.execute("BEGIN IMMEDIATE")
    return held


@pytest.mark.parametrize("command", [("db", "upgrade"), ("key", "recover")], ids=" ".join)
def test_a_command_that_writes_waits_for_the_lock_of_sqlite(data: Path, command: tuple[str, ...]) -> None:
    with closing(writing(data / "catalog.sqlite")):
        result = Naps().run(*command, "--data-dir", data)
    gave_up(result, LOCKED, f"database {data}/catalog.sqlite", "another process is writing")


def test_a_copy_waits_for_the_lock_of_its_target(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    with closing(writing(target)):
        result = Naps().run("db", "copy", "--data-dir", data, "--to", f"sqlite:///{target}")
    gave_up(result, LOCKED, f"database {target}", "another process is writing")


def test_a_command_goes_on_when_the_lock_is_free(data: Path) -> None:
    time = Naps()
    with closing(writing(data / "catalog.sqlite")) as held:
        time.noted = held.close  # type: ignore[method-assign]
        result = time.run("db", "upgrade", "--data-dir", data, wait=("--wait", "20"))
    assert (result.code, result.out) == (0, f"schema {schema.newest()}\n")


@pytest.mark.parametrize(
    "command", [("db", "status"), ("db", "check"), ("store", "gc"), ("image", "verify", "--all")], ids=" ".join
)
def test_a_command_that_reads_does_not_wait_for_a_writer(data: Path, command: tuple[str, ...]) -> None:
    with closing(writing(data / "catalog.sqlite")):
        assert run(*command, "--data-dir", data, *WAIT).code == 0


@pytest.mark.more
def test_every_command_waits_for_postgresql_that_refuses_connections(
    installed: Installed, proxy: Proxy, tmp_path: Path
) -> None:
    copy = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    commands = (
        ("db", "upgrade"),
        ("key", "recover"),
        ("db", "copy", "--to", copy),
        ("store", "gc"),
        ("image", "verify", "--all"),
    )
    proxy.refuse()
    try:
        results = [Naps().run(*command, *installed.options) for command in commands]
    finally:
        proxy.allow()
    for result in results:
        gave_up(result, AWAY, f"database postgresql://127.0.0.1:{proxy.port}/", "Connection refused")


def test_a_command_waits_for_postgresql_that_is_silent(installed: Installed, proxy: Proxy) -> None:
    proxy.stall()
    try:
        result = NoAnswer().run("image", "verify", "--all", *installed.options)
    finally:
        proxy.flow()
    gave_up(result, AWAY, f"database postgresql://127.0.0.1:{proxy.port}/")
    assert "no answer yet" in result.err


def test_a_command_waits_for_the_writers_turn_of_postgresql(installed: Installed) -> None:
    with psycopg.connect(installed.direct) as held:
        held.execute(b"UPDATE head SET number = number")
        result = Naps().run("key", "recover", *installed.options)
        held.rollback()
    gave_up(result, LOCKED, "database postgresql://", "another transaction holds its lock")


def test_a_transaction_is_cut_off_when_postgresql_falls_silent_in_it(installed: Installed, proxy: Proxy) -> None:
    told: list[str] = []
    database = open_database(database_url(installed.url, Path()), Patience(told.append, limit=0.5, notice=0.1))

    def ask() -> None:
        with database.read() as connection:
            proxy.stall()
            connection.execute(text("SELECT 1"))

    try:
        with pytest.raises(Unreachable, match="gave up waiting for the database"):
            ask()
    finally:
        proxy.flow()
        database.close()


@pytest.mark.more
def test_a_long_statement_is_not_cut_off_while_postgresql_answers(installed: Installed) -> None:
    database = open_database(database_url(installed.url, Path()), Patience(lambda told: None, limit=2.0, notice=1.0))
    try:
        with database.read() as connection:
            assert connection.execute(text("SELECT 1 FROM pg_sleep(3)")).scalar_one() == 1
    finally:
        database.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.more
@pytest.mark.parametrize("way", ["refuses", "is silent"])
@pytest.mark.parametrize("command", [("image", "verify", "--all"), ("store", "gc"), ("store", "stats")], ids=" ".join)
def test_a_command_waits_for_s3(
    data: Path, silent: str, monkeypatch: pytest.MonkeyPatch, way: str, command: tuple[str, ...]
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    endpoint = silent if way == "is silent" else "http://127.0.0.1:1"
    store = f"s3://images/here?endpoint={endpoint}"
    gave_up(run(*command, "--data-dir", data, "--store", store, *WAIT), AWAY, f"store s3://images/here at {endpoint}")


def locking(path: Path) -> int:
    """Holds the lock of a file until it is closed."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


@pytest.mark.parametrize(
    "call",
    [lambda store: store.put("a/b", b"x"), lambda store: store.delete("a/c"), lambda store: store.refresh("a/c", 2e9)],
    ids=["put", "delete", "refresh"],
)
def test_a_folder_whose_lock_is_held_is_waited_for(tmp_path: Path, call: Callable[[FolderStore], object]) -> None:
    FolderStore(tmp_path / "store").put("a/c", b"x")
    told: list[str] = []
    time = Naps()
    patience = Patience(told.append, limit=0.3, notice=0.1, clock=time, sleep=time.sleep)
    store = persistent(FolderStore(tmp_path / "store", lock_seconds=0.05), patience)
    held = locking(tmp_path / "store/.lock")
    with pytest.raises(Locked, match="another process holds its lock"):
        call(store)  # type: ignore[arg-type]
    os.close(held)
    call(store)  # type: ignore[arg-type]
    assert len(told) == 1


@pytest.mark.parametrize(("reason", "code"), [("busy", LOCKED), ("unreachable", AWAY), ("no space", 1)])
def test_a_store_that_fails_has_an_exit_code_for_its_reason(
    reason: Reason, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise StoreFailure("collect", "sweeps/x", reason)

    assert run_to_exit_code(command) == code
    assert capsys.readouterr().err.startswith(f"phimage: collect sweeps/x: {reason}; ")
