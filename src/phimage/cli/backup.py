"""`phimage backup`: backups of an installation, and what becomes of them."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path

import click

from phimage.cli.backup_options import (
    FOUND,
    backup_fields,
    dest_argument,
    name_option,
    note_verified_backup,
    passphrase_option,
    reaching,
    read_passphrase,
    summary_fields,
)
from phimage.cli.hold import hold
from phimage.cli.installation import of_installation
from phimage.cli.output import json_option, note, print_json, print_table
from phimage.cli.progress import Progress
from phimage.cli.restore import drill, restore
from phimage.cli.store import size_in_words
from phimage.settings import Settings


@click.group(short_help="Back up an installation, and restore it.")
def backup() -> None:
    """Back up this machine's installation while it works, and restore it elsewhere.

    DEST is a folder, or s3://bucket/prefix?endpoint=http://host:port with keys in AWS_* variables. It holds all backups of one
    installation; what they share is stored once.
    """


@backup.command(short_help="Make a backup.")
@dest_argument
@click.option("--with-key", is_flag=True, help="Put the master key in as well, encrypted with a passphrase.")
@passphrase_option
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Remove all but the newest N backups afterwards.")
@of_installation
@json_option
@reaching
def create(
    settings: Settings, dest: str, with_key: bool, passphrase_file: Path | None, keep: int | None, as_json: bool
) -> None:
    """Make a backup in DEST: the database, and the bytes of all images that DEST does not have yet, each verified.

    Servers, publishers and collections may go on. A backup that was cut short is not listed, and the next one goes on from it.
    The master key is not in it without --with-key: keep a copy of it elsewhere.

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
        raise click.UsageError("--passphrase-file is for --with-key")
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
@dest_argument
@json_option
@reaching
def list_(dest: str, as_json: bool) -> None:
    """List the whole backups in DEST, oldest first.

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
            size_in_words(record.image_bytes),
            "yes" if record.encrypted_key else "no",
        )
        for record in records
    )
    print_table(("BACKUP", "REVISION", "DISKS", "BYTES OF DISKS", "KEY INSIDE"), rows)


@backup.command(short_help="Read backups and compare every byte.")
@dest_argument
@name_option
@click.option("--all", "all_", is_flag=True, help="All backups.")
@click.option("--quarantine", is_flag=True, help="Put damaged chunks aside, so that the next backup sends them again.")
@of_installation
@json_option
@reaching
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
        note_verified_backup(settings, place)
    if as_json:
        problems = [{"Backups": one.backups, "Kind": one.kind, "What": one.what} for one in checked.problems]
        print_json({"Backups": checked.backups, "Chunks": checked.chunks, "Bytes": checked.bytes, "FindingSet": problems})
    else:
        for one in checked.problems:
            click.echo(f"{', '.join(one.backups)}: {one.kind}: {one.what}")
        read = f"{checked.bytes} bytes in {checked.chunks} chunks"
        note(f"{len(checked.backups)} backups, {read}, {len(checked.problems)} findings")
    sys.exit(FOUND if checked.problems else 0)


backup.add_command(restore)
backup.add_command(drill)
backup.add_command(hold)
