"""The address of the database: parses and checks PHIMAGE_DATABASE."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from phimage.errors import SetupError

# docs/decisions.md#statements-are-prepared-on-postgresql
PREPARED = "prepared"
"""`?prepared=off` in the address of PostgreSQL: for a pooler without prepared statements, such as PgBouncer with
`max_prepared_statements = 0`."""

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_SQLITE_HEADER = b"SQLite format 3\0"


def database_url(text: str, data: Path, setting: str = "PHIMAGE_DATABASE") -> URL:
    """The address of the database: `postgresql://...` as given, or by default `catalog.sqlite` in the data folder.

    Raises SetupError for anything else. It names the setting and never repeats the address, which may hold a password.
    """
    if not text:
        return URL.create("sqlite", database=str(data / "catalog.sqlite"))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # ValueError: a port that is not a number
        raise SetupError(f"{setting} is not an address; expected postgresql://user@host/database") from None
    if url.drivername in _POSTGRESQL:
        url = url.set(drivername="postgresql+psycopg")
        wrong = _wrong_in_postgresql(url)
    elif url.drivername == "sqlite":
        wrong = _wrong_in_sqlite(url)
    else:
        wrong = f"names {url.drivername!r}"
    if wrong:
        raise SetupError(f"{setting} {wrong}; expected postgresql://user@host/database or sqlite:///FILE")
    return url


def check_sqlite_file(path: Path, *, must_exist: bool) -> None:
    """Raises SetupError with the file's name and the reason if SQLite cannot open it: SQLite reports neither."""
    try:
        if must_exist or path.exists():
            with path.open("rb") as file:
                header = file.read(len(_SQLITE_HEADER))
            if header not in (b"", _SQLITE_HEADER):
                raise SetupError(f"{path} is not an SQLite database: if it was one, restore a backup")
        elif not path.parent.is_dir():
            raise SetupError(f"{path.parent} is not a folder: create it first")
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None


def _wrong_in_postgresql(url: URL) -> str:
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    if "@" in (url.host or ""):
        return "has two @: write an @ of the password as %40"
    try:
        arguments = url.get_dialect()().create_connect_args(url.difference_update_query([PREPARED]))[1]
        ports = str(arguments.get("port", "")).split(",")
        if url.port == 0 or not all(port == "" or (port.isdecimal() and 0 < int(port) < 65536) for port in ports):
            return "has a port that is not a number from 1 to 65535"
        make_conninfo(**arguments)
    except ArgumentError:
        return "has hosts and ports that do not fit together"
    except ProgrammingError as error:
        return f"cannot be used: {str(error).strip()}"
    return ""


def _wrong_in_sqlite(url: URL) -> str:
    if not url.database or url.database == ":memory:":
        return "names no file"
    if url.host or url.username or url.port or url.query:
        return "has more than a file"
    return ""
