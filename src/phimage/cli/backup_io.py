"""Input and output of `phimage backup`: its arguments, the passphrase, and a backup as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phimage.cli.prompts import ask_secret
from phimage.errors import ServiceUnavailable, SetupError, Unreachable
from phimage.settings import Settings

if TYPE_CHECKING:
    from phimage.backup.place import BackupPlace
    from phimage.backup.record import BackupRecord

dest_argument = click.argument("dest", metavar="DEST")
name_option = click.option("--backup", "name", metavar="NAME", help="Which backup.  [default: the newest]")
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File whose first line is the passphrase of the master key.  [default: ask]",
)
key_option = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the master key, mode 0600.  [default: the one of --data-dir]",
)


def needs_destination(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that raises Unreachable, with its exit code, when DEST does not respond."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from phimage.chunks.errors import StoreFailure

        try:
            return command(*args, **kwargs)
        except StoreFailure as failure:
            if failure.reason != "unreachable":
                raise
            raise Unreachable(f"{failure}; check that the store at that address is running") from failure

    return run


def read_passphrase(file: Path | None, *, confirm: bool) -> str:
    """The passphrase of a master key: the first line of a file, or the answer to a prompt. Raises SetupError."""
    if file is None:
        return ask_secret("passphrase of the master key", "name its file with --passphrase-file", twice=confirm)
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} cannot be read: {error}; name the file of the passphrase") from None
    return lines[0] if lines else ""


def note_verified_backup(settings: Settings, place: BackupPlace) -> None:
    """Record the success for the metrics, where the installation is on this machine."""
    from phimage.catalog.backups import record_verified
    from phimage.installation import open_catalog

    with suppress(SetupError, ServiceUnavailable):
        catalog = open_catalog(settings)
        try:
            record_verified(catalog.database, place.describe(), time.time())
        finally:
            catalog.database.close()


def backup_fields(record: BackupRecord) -> dict[str, Any]:
    """A backup as JSON, with the rows and digest of each table."""
    tables = [{"Table": one.table, "Rows": one.rows, "Digest": one.digest} for one in record.tables]
    return {**summary_fields(record), "Tables": tables}


def summary_fields(record: BackupRecord) -> dict[str, Any]:
    """A backup as JSON, without its tables."""
    return {
        "Name": record.name,
        "Time": int(record.time),
        "Revision": record.revision,
        "Schema": record.schema,
        "Disks": len(record.manifests),
        "DiskBytes": record.image_bytes,
        "DatabaseBytes": record.database_bytes,
        "KeyInside": record.encrypted_key is not None,
        "KeyFingerprint": record.key_fingerprint,
    }
