"""`phimage backup restore` and `drill`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phimage.cli.backup_io import (
    backup_fields,
    dest_argument,
    key_option,
    name_option,
    needs_destination,
    note_verified_backup,
    passphrase_option,
    read_passphrase,
)
from phimage.cli.exit_codes import FINDINGS, ended_as_by_ctrl_c
from phimage.cli.installation import of_installation
from phimage.cli.output import echo, json_option, note, print_json
from phimage.cli.progress import Progress
from phimage.errors import SetupError
from phimage.settings import Settings

if TYPE_CHECKING:
    from phimage.backup.record import BackupRecord


def _backup_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds the options for a backup and its master key."""
    for option in (passphrase_option, key_option, name_option, dest_argument):
        command = option(command)
    return command


@click.command(short_help="Restore a backup as a new installation.")
@_backup_options
@of_installation
@json_option
@needs_destination
def restore(
    settings: Settings, dest: str, name: str | None, key_file: Path | None, passphrase_file: Path | None, as_json: bool
) -> None:
    """Restore a backup to a new data folder and, if they are named, a new store and a new, empty database of either kind.

    Before anything is written, the master key must match and every target must be empty. After an interruption the same command
    resumes. At the end it runs the checks of `phimage db check` and `phimage image verify --all`, and exits with 1 if there are
    findings.

    \b
    Examples:
      phimage backup restore /mnt/backup --data-dir /var/lib/phimage --key /root/master.key
      phimage backup restore /mnt/backup --data-dir new --database postgresql://phimage@db/phimage --store s3://images
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
        print_json({**backup_fields(record), **sent, "Findings": restored.findings})
    else:
        for finding in restored.findings:
            echo(finding)
        note(
            f"revision {record.revision} with {len(record.manifests)} disks restored to {settings.data_dir},"
            f" {len(restored.findings)} findings"
        )
    sys.exit(FINDINGS if restored.findings else 0)


@click.command(short_help="Try a restore and remove it again.")
@_backup_options
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with space for all images.  [default: the folder of temporary files]",
)
@of_installation
@json_option
@needs_destination
def drill(
    settings: Settings,
    dest: str,
    name: str | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Restore a backup to a temporary folder, start a server there, list its images, download the smallest base image and
    verify it. Then remove everything and print the duration of each step. Exits with 1 if there are findings.

    \b
    Example:
      phimage backup drill /mnt/backup --data-dir /var/lib/phimage --scratch /mnt/scratch
    """
    from phimage.backup.place import open_place
    from phimage.drill import drill

    place = open_place(dest)
    record = place.choose(name)
    key = _master_key(record, settings, key_file, passphrase_file)
    with ended_as_by_ctrl_c(), Progress(quiet=as_json) as progress:
        drilled = drill(place, record, key, scratch, progress=progress.at)
    if not drilled.findings:
        note_verified_backup(settings, place)
    if as_json:
        steps = [{"What": step.what, "Seconds": round(step.seconds, 3)} for step in drilled.steps]
        print_json({"Name": drilled.backup, "Steps": steps, "Findings": drilled.findings})
    else:
        echo(f"backup {drilled.backup}")
        for step in drilled.steps:
            echo(f"{step.seconds:8.1f} s  {step.what}")
        for finding in drilled.findings:
            echo(finding)
    sys.exit(FINDINGS if drilled.findings else 0)


def _master_key(record: BackupRecord, settings: Settings, key_file: Path | None, passphrase_file: Path | None) -> bytes:
    """The master key of a backup: from a file, or decrypted with a passphrase. Raises SetupError if it does not match."""
    from phimage.backup.key import check_key, decrypt_key
    from phimage.catalog.key_encryption import read_master_key

    if key_file and passphrase_file:
        raise click.UsageError("give --key or --passphrase-file, not both")
    if key_file is None and passphrase_file is None and settings.master_key_file.exists():
        key_file = settings.master_key_file
    if key_file is not None:
        key = read_master_key(key_file)
        check_key(key, record.key_fingerprint)
        return key
    if record.encrypted_key is None:
        raise SetupError(f"backup {record.name} contains no master key: name the file of the key with --key")
    return decrypt_key(record.encrypted_key, read_passphrase(passphrase_file, confirm=False), record.key_fingerprint)
