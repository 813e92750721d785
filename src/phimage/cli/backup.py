"""`phimage backup`: backups of an installation, and what becomes of them."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phimage.cli.installation import of_installation
from phimage.cli.output import json_option, note, print_json, print_table
from phimage.cli.progress import Progress
from phimage.cli.store import size_in_words, time_in_seconds
from phimage.errors import ServiceUnavailable, SetupError, Unreachable
from phimage.settings import Settings

if TYPE_CHECKING:
    from phimage.backup.place import Place
    from phimage.backup.record import Record

FOUND = 1
"""Exit code when something is wrong with a backup."""

_dest = click.argument("dest", metavar="DEST")
_named = click.option("--backup", "name", metavar="NAME", help="Which backup.  [default: the newest]")
_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File whose first line is the passphrase of the master key.  [default: it is asked for]",
)
_key_file = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the master key, mode 0600.  [default: the one of --data]",
)


@click.group(short_help="Back up an installation, and restore it.")
def backup() -> None:
    """Back up this machine's installation while it works, and restore it elsewhere.

    DEST is a folder, or s3://bucket/prefix?endpoint=http://host:port with keys in AWS_* variables. It holds all backups of one
    installation; what they share is stored once.
    """


def _reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a place that does not answer into its exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from phimage.chunks.errors import StoreFailure

        try:
            return command(*args, **kwargs)
        except StoreFailure as failure:
            if failure.reason != "unreachable":
                raise
            raise Unreachable(f"{failure}; is the store of that address running?") from failure

    return run


@backup.command(short_help="Make a backup.")
@_dest
@click.option("--with-key", is_flag=True, help="Put the master key in as well, encrypted with a passphrase.")
@_passphrase_file
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Remove all but the newest N backups afterwards.")
@of_installation
@json_option
@_reaching
def create(
    settings: Settings, dest: str, with_key: bool, passphrase_file: Path | None, keep: int | None, as_json: bool
) -> None:
    """Make a backup in DEST: the database, and the bytes of all images that DEST does not have yet, each verified.

    Servers, publishers and collections may go on. A backup that was cut short is not listed, and the next one goes on from it.
    The master key is not in it without --with-key: keep a copy of it elsewhere.

    \b
    Examples:
      phimage backup create /mnt/backup --data /var/lib/phimage
      phimage backup create 's3://backups/phimage?endpoint=https://s3.example.com' --keep 14
      phimage backup create /mnt/backup --with-key --passphrase-file /root/passphrase
    """
    from phimage.backup.create import create
    from phimage.backup.key import encrypt_key
    from phimage.backup.place import open_place
    from phimage.backup.prune import prune
    from phimage.bootstrap import opened_store
    from phimage.catalog.seal import read_master_key

    if passphrase_file and not with_key:
        raise click.UsageError("--passphrase-file is for --with-key")
    with opened_store(settings) as (catalog, store), Progress(quiet=as_json) as progress:
        encrypted = None
        if with_key:
            passphrase = _passphrase(passphrase_file, confirm=True)
            encrypted = encrypt_key(read_master_key(settings.master_key_file), passphrase, secrets.token_bytes)
        place = open_place(dest, make=True)
        made = create(catalog, store, place, settings.work_folder, encrypted_key=encrypted, progress=progress.at)
        if keep is not None:
            progress.at("removing old backups", 0, None)
        pruned = None if keep is None else prune(place, keep)
    record, images = made.record, made.images
    if as_json:
        sent = {"SentChunks": images.sent_chunks, "SentBytes": images.sent_bytes, "SentDatabaseBytes": made.database_bytes_sent}
        print_json({**_as_json(record), "Chunks": images.chunks, **sent, "Removed": pruned.names if pruned else ()})
        return
    click.echo(record.name)
    note(
        f"revision {record.revision}, {len(record.manifests)} disks in {images.chunks} chunks;"
        f" {images.sent_chunks} chunks sent, {size_in_words(images.sent_bytes)},"
        f" and {size_in_words(made.database_bytes_sent)} of the database"
    )
    if pruned is not None:
        note(f"{len(pruned.names)} old backups removed, {size_in_words(pruned.report.removed_bytes)} freed")
    if not record.encrypted_key:
        note("the master key is not in it: keep a copy of it elsewhere")


@backup.command("list", short_help="List whole backups.")
@_dest
@json_option
@_reaching
def list_(dest: str, as_json: bool) -> None:
    """List the whole backups in DEST, oldest first.

    \b
    Example:
      phimage backup list /mnt/backup
    """
    from phimage.backup.place import open_place

    records = open_place(dest).records()
    if as_json:
        print_json({"BackupSet": [_summary(record) for record in records]})
        return
    rows = (
        (
            record.name,
            str(record.revision),
            str(len(record.manifests)),
            size_in_words(record.image_bytes),
            "yes" if record.encrypted_key else "no",
        )
        for record in records
    )
    print_table(("BACKUP", "REVISION", "DISKS", "BYTES OF DISKS", "KEY INSIDE"), rows)


@backup.command(short_help="Read backups and compare every byte.")
@_dest
@_named
@click.option("--all", "all_", is_flag=True, help="All backups.")
@click.option("--quarantine", is_flag=True, help="Put damaged chunks aside, so that the next backup sends them again.")
@of_installation
@json_option
@_reaching
def verify(settings: Settings, dest: str, name: str | None, all_: bool, quarantine: bool, as_json: bool) -> None:
    """Read every chunk of the newest backup and compare it with its SHA-256, and the rows of the database with their digests.

    Exits with 1 if something is wrong. It needs no master key, and runs on any machine; on one of the installation the metrics
    tell when it last ended well.

    \b
    Examples:
      phimage backup verify /mnt/backup
      phimage backup verify /mnt/backup --all --quarantine
    """
    from phimage.backup.place import open_place
    from phimage.backup.verify import verify

    if name and all_:
        raise click.UsageError("name a backup, or give --all")
    place = open_place(dest)
    records = place.records() if all_ else [place.choose(name)]
    with Progress(quiet=as_json) as progress:
        checked = verify(
            place,
            records,
            now=time.time(),
            quarantine=quarantine,
            progress=lambda at: progress.at("verifying", at.bytes, at.bytes * at.all_chunks // at.chunks),
        )
    if not checked.problems:
        _note_verified(settings, place)
    if as_json:
        problems = [{"Backups": one.backups, "Kind": one.kind, "What": one.what} for one in checked.problems]
        print_json({"Backups": checked.backups, "Chunks": checked.chunks, "Bytes": checked.bytes, "FindingSet": problems})
    else:
        for one in checked.problems:
            click.echo(f"{', '.join(one.backups)}: {one.kind}: {one.what}")
        read = f"{checked.bytes} bytes in {checked.chunks} chunks"
        note(f"{len(checked.backups)} backups, {read}, {len(checked.problems)} findings")
    sys.exit(FOUND if checked.problems else 0)


@backup.command(short_help="Restore a backup to an empty place.")
@_dest
@_named
@_key_file
@_passphrase_file
@of_installation
@json_option
@_reaching
def restore(
    settings: Settings, dest: str, name: str | None, key_file: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Restore a backup to a new data folder and, if they are named, a new store and a new, empty database of either kind.

    Nothing is written before the master key fits and every part of the place is empty. Interrupted, the same command goes on.
    At the end the checks of `phimage db check` and `phimage image verify --all` are run on it; exits with 1 if they find
    something.

    \b
    Examples:
      phimage backup restore /mnt/backup --data /var/lib/phimage --key /root/master.key
      phimage backup restore /mnt/backup --data new --database postgresql://phimage@db/phimage --store s3://images
    """
    from phimage.backup import restore as restoring
    from phimage.backup.place import open_place

    place = open_place(dest)
    record = place.choose(name or restoring.begun(settings))
    key = _master_key(record, settings, key_file, passphrase_file)
    with Progress(quiet=as_json) as progress:
        restored = restoring.restore(place, record, settings, key, progress=progress.at)
    if as_json:
        sent = {"Chunks": restored.images.chunks, "SentChunks": restored.images.sent_chunks}
        print_json({**_as_json(record), **sent, "Findings": restored.findings})
    else:
        for finding in restored.findings:
            click.echo(finding)
        note(
            f"revision {record.revision} with {len(record.manifests)} disks restored to {settings.data},"
            f" {len(restored.findings)} findings"
        )
    sys.exit(FOUND if restored.findings else 0)


@backup.command(short_help="Try a restore, and remove it again.")
@_dest
@_named
@_key_file
@_passphrase_file
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with room for all images.  [default: that of temporary files]",
)
@of_installation
@json_option
@_reaching
def drill(
    settings: Settings,
    dest: str,
    name: str | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Restore a backup to a temporary place, start a server there, list its images, download the smallest base image and
    compare it. Then remove everything, and say how long each step took. Exits with 1 if something was wrong.

    \b
    Example:
      phimage backup drill /mnt/backup --data /var/lib/phimage --scratch /mnt/scratch
    """
    from phimage.backup.place import open_place
    from phimage.drill import drill

    place = open_place(dest)
    record = place.choose(name)
    key = _master_key(record, settings, key_file, passphrase_file)
    with Progress(quiet=as_json) as progress:
        drilled = drill(place, record, key, scratch, progress=progress.at)
    if not drilled.findings:
        _note_verified(settings, place)
    if as_json:
        steps = [{"What": step.what, "Seconds": round(step.seconds, 3)} for step in drilled.steps]
        print_json({"Name": drilled.backup, "Steps": steps, "Findings": drilled.findings})
    else:
        click.echo(f"backup {drilled.backup}")
        for step in drilled.steps:
            click.echo(f"{step.seconds:8.1f} s  {step.what}")
        for finding in drilled.findings:
            click.echo(finding)
    sys.exit(FOUND if drilled.findings else 0)


@backup.command(short_help="Keep collected bytes for a time.")
@click.argument("duration", metavar="[TIME]", required=False)
@click.option("--release", metavar="ID", help="End a hold.")
@of_installation
@json_option
def hold(settings: Settings, duration: str | None, release: str | None, as_json: bool) -> None:
    """Let `phimage store gc` keep, for a time, the bytes of every image of now and later, also of withdrawn ones. Without a
    time, list the holds.

    For a database that has backups of its own, with point-in-time recovery: when it goes back by less than the time, the bytes
    of its images are there. Run it daily, for a day longer than the recovery reaches back.

    \b
    Examples:
      phimage backup hold 48h --data /var/lib/phimage
      phimage backup hold
      phimage backup hold --release hold-5d2f01c3a9b4
    """
    from phimage.bootstrap import open_catalog
    from phimage.catalog import holds

    if duration and release:
        raise click.UsageError("give a time, or --release ID")
    seconds = time_in_seconds(duration, "TIME") if duration else 0.0
    catalog = open_catalog(settings)
    try:
        now = time.time()
        if release and not holds.release(catalog.database, release):
            raise SetupError(f"there is no hold {release}; `phimage backup hold` lists them")
        if duration:
            holds.add(catalog.database, f"hold-{secrets.token_hex(6)}", "backup hold", now=now, seconds=seconds)
        with catalog.database.read() as connection:
            found = holds.active(connection, now)
    finally:
        catalog.database.close()
    if as_json:
        told = [{"Id": one.id, "Revision": one.revision, "Expires": int(one.expires), "Reason": one.reason} for one in found]
        print_json({"HoldSet": told})
        return
    rows = ((one.id, str(one.revision), _when(one.expires), one.reason) for one in found)
    print_table(("HOLD", "SINCE REVISION", "UNTIL", "FOR"), rows)


def _master_key(record: Record, settings: Settings, key_file: Path | None, passphrase_file: Path | None) -> bytes:
    """The master key of a backup: from a file, or out of the backup with a passphrase. Raises SetupError for another one."""
    from phimage.backup.key import check_key, decrypt_key
    from phimage.catalog.seal import read_master_key

    if key_file and passphrase_file:
        raise click.UsageError("give --key or --passphrase-file, not both")
    if key_file is None and passphrase_file is None and settings.master_key_file.exists():
        key_file = settings.master_key_file
    if key_file is not None:
        key = read_master_key(key_file)
        check_key(key, record.key_fingerprint)
        return key
    if record.encrypted_key is None:
        raise SetupError(f"backup {record.name} has no master key inside: name the file of the key with --key")
    return decrypt_key(record.encrypted_key, _passphrase(passphrase_file, confirm=False), record.key_fingerprint)


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is None:
        asked: str = click.prompt("Passphrase of the master key", hide_input=True, confirmation_prompt=confirm, err=True)
        return asked
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} cannot be read: {error}") from None
    return lines[0] if lines else ""


def _note_verified(settings: Settings, place: Place) -> None:
    """Note it for the metrics, on a machine of the installation."""
    from phimage.bootstrap import open_catalog
    from phimage.catalog.backups import note_verified

    with suppress(SetupError, ServiceUnavailable):
        catalog = open_catalog(settings)
        try:
            note_verified(catalog.database, place.describe(), time.time())
        finally:
            catalog.database.close()


def _as_json(record: Record) -> dict[str, Any]:
    tables = [{"Table": one.table, "Rows": one.rows, "Digest": one.digest} for one in record.tables]
    return {**_summary(record), "Tables": tables}


def _summary(record: Record) -> dict[str, Any]:
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


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
