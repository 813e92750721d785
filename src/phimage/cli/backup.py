"""`phimage backup`: make, list and verify backups of an installation, and hold bytes for point-in-time recovery."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path

import click

from phimage.cli.backup_io import (
    backup_fields,
    dest_argument,
    name_option,
    needs_destination,
    note_verified_backup,
    passphrase_option,
    read_passphrase,
    summary_fields,
)
from phimage.cli.exit_codes import FINDINGS, ended_as_by_ctrl_c
from phimage.cli.installation import of_installation
from phimage.cli.output import echo, json_option, minute, note, print_json, print_table
from phimage.cli.progress import Progress
from phimage.cli.restore import drill, restore
from phimage.cli.store import format_size, parse_time
from phimage.errors import SetupError
from phimage.settings import Settings


@click.group(short_help="Back up an installation, and restore it.")
def backup() -> None:
    """Back up the installation of this machine while it runs, and restore it elsewhere.

    DEST is a folder, or s3://bucket/prefix?endpoint=http://host:port with keys in AWS_* variables. It holds all backups of one
    installation. Chunks that backups share are stored once.
    """


@backup.command(short_help="Make a backup.")
@dest_argument
@click.option("--with-key", is_flag=True, help="Include the master key, encrypted with a passphrase.")
@passphrase_option
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Afterwards remove all but the newest N backups.")
@of_installation
@json_option
@needs_destination
def create(
    settings: Settings, dest: str, with_key: bool, passphrase_file: Path | None, keep: int | None, as_json: bool
) -> None:
    """Make a backup in DEST: the database, and those bytes of images that DEST does not have yet, verified.

    Servers, publishers and garbage collections may run meanwhile. An interrupted backup is not listed; the next one reuses
    what it sent. The master key is not included without --with-key: keep a copy of it elsewhere.

    \b
    Examples:
      phimage backup create /mnt/backup --data-dir /var/lib/phimage
      phimage backup create 's3://backups/phimage?endpoint=https://s3.example.com' --keep 14
      phimage backup create /mnt/backup --with-key --passphrase-file /root/passphrase
    """
    from phimage.backup.create import create
    from phimage.backup.key import encrypt_key
    from phimage.backup.place import open_place, prune
    from phimage.catalog.key_encryption import read_master_key
    from phimage.installation import opened_store

    if passphrase_file and not with_key:
        raise click.UsageError("--passphrase-file needs --with-key")
    with opened_store(settings) as (catalog, store), Progress(quiet=as_json) as progress:
        encrypted = None
        if with_key:
            passphrase = read_passphrase(passphrase_file, confirm=True)
            encrypted = encrypt_key(read_master_key(settings.master_key_file), passphrase, secrets.token_bytes)
        place = open_place(dest, create=True)
        made = create(catalog, store, place, settings.work_folder, encrypted_key=encrypted, progress=progress.at)
        if keep is not None:
            progress.at("removing old backups", 0, None)
        pruned = None if keep is None else prune(place, keep)
    record, images = made.record, made.images
    if as_json:
        sent = {"SentChunks": images.sent_chunks, "SentBytes": images.sent_bytes, "SentDatabaseBytes": made.database_bytes_sent}
        print_json({**backup_fields(record), "Chunks": images.chunks, **sent, "Removed": pruned.names if pruned else ()})
        return
    echo(record.name)
    note(
        f"revision {record.revision}, {len(record.manifests)} disks in {images.chunks} chunks;"
        f" {images.sent_chunks} chunks sent, {format_size(images.sent_bytes)},"
        f" and {format_size(made.database_bytes_sent)} of the database"
    )
    if pruned is not None:
        note(f"{len(pruned.names)} old backups removed, {format_size(pruned.report.removed_bytes)} freed")
    if not record.encrypted_key:
        note("the master key is not included: keep a copy of it elsewhere")


@backup.command("list", short_help="List the complete backups.")
@dest_argument
@json_option
@needs_destination
def list_(dest: str, as_json: bool) -> None:
    """List the complete backups in DEST, oldest first.

    \b
    Example:
      phimage backup list /mnt/backup
    """
    from phimage.backup.place import open_place

    records = open_place(dest).records()
    if as_json:
        print_json({"BackupSet": [summary_fields(record) for record in records]})
        return
    rows = (
        (
            record.name,
            str(record.revision),
            str(len(record.manifests)),
            format_size(record.image_bytes),
            "yes" if record.encrypted_key else "no",
        )
        for record in records
    )
    print_table(("BACKUP", "REVISION", "DISKS", "BYTES OF DISKS", "KEY INSIDE"), rows)


@backup.command(short_help="Verify every byte of backups.")
@dest_argument
@name_option
@click.option("--all", "all_", is_flag=True, help="Verify all backups.")
@click.option("--quarantine", is_flag=True, help="Move damaged chunks aside, so that the next backup sends them again.")
@of_installation
@json_option
@needs_destination
def verify(settings: Settings, dest: str, name: str | None, all_: bool, quarantine: bool, as_json: bool) -> None:
    """Compare every chunk of the newest backup with its SHA-256, and the rows of the database with their digests.

    Exits with 1 if there are findings. It needs no master key and runs on any machine. On a machine of the installation it
    also records its success for the metrics.

    \b
    Examples:
      phimage backup verify /mnt/backup
      phimage backup verify /mnt/backup --all --quarantine
    """
    from phimage.backup.place import open_place
    from phimage.backup.verify import verify

    if name and all_:
        raise click.UsageError("give --backup NAME or --all, not both")
    place = open_place(dest)
    records = place.records() if all_ else [place.choose(name)]
    with ended_as_by_ctrl_c(), Progress(quiet=as_json) as progress:
        checked = verify(
            place,
            records,
            now=time.time(),
            quarantine=quarantine,
            progress=lambda at: progress.at("verifying", at.bytes, at.bytes * at.all_chunks // at.chunks),
        )
    if not checked.problems:
        note_verified_backup(settings, place)
    if as_json:
        problems = [{"Backups": one.backups, "Kind": one.kind, "What": one.what} for one in checked.problems]
        print_json({"Backups": checked.backups, "Chunks": checked.chunks, "Bytes": checked.bytes, "FindingSet": problems})
    else:
        for one in checked.problems:
            echo(f"{', '.join(one.backups)}: {one.kind}: {one.what}")
        read = f"{checked.bytes} bytes in {checked.chunks} chunks"
        note(f"{len(checked.backups)} backups, {read}, {len(checked.problems)} findings")
    sys.exit(FINDINGS if checked.problems else 0)


@backup.command(short_help="Keep the bytes of withdrawn images for a time.")
@click.argument("duration", metavar="[TIME]", required=False)
@click.option("--release", metavar="ID", help="End a hold.")
@of_installation
@json_option
def hold(settings: Settings, duration: str | None, release: str | None, as_json: bool) -> None:
    """Make `phimage store gc` keep the bytes of all present and future images for a time, even of withdrawn ones. Without TIME,
    list the holds.

    For a database with point-in-time recovery of its own: after a recovery that goes back by less than TIME, the bytes of all
    its images are still stored. Run it daily, for a day longer than the recovery reaches back.

    \b
    Examples:
      phimage backup hold 48h --data-dir /var/lib/phimage
      phimage backup hold
      phimage backup hold --release hold-5d2f01c3a9b4
    """
    from phimage.catalog import backups
    from phimage.installation import open_catalog

    if duration and release:
        raise click.UsageError("give TIME or --release ID, not both")
    seconds = parse_time(duration, "TIME") if duration else 0.0
    catalog = open_catalog(settings)
    try:
        now = time.time()
        if release and not backups.release_hold(catalog.database, release):
            raise SetupError(f"there is no hold {release}; `phimage backup hold` lists them")
        if duration:
            backups.add_hold(catalog.database, f"hold-{secrets.token_hex(6)}", "backup hold", now=now, seconds=seconds)
        with catalog.database.read() as connection:
            active = backups.active_holds(connection, now)
    finally:
        catalog.database.close()
    if as_json:
        rows = [{"Id": one.id, "Revision": one.revision, "Expires": int(one.expires), "Reason": one.reason} for one in active]
        print_json({"HoldSet": rows})
        return
    table = ((one.id, str(one.revision), minute(one.expires), one.reason) for one in active)
    print_table(("HOLD", "SINCE REVISION", "UNTIL", "REASON"), table)


backup.add_command(restore)
backup.add_command(drill)
