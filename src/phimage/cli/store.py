"""`phimage store`: the store of all image bytes."""

from __future__ import annotations

import re
import time
from typing import Any

import click
import msgspec

from phimage.cli.installation import of_installation, patience
from phimage.cli.job import format_age
from phimage.cli.output import echo, json_option, note, print_json, print_table, printable, working
from phimage.cli.profile import Connect, connecting
from phimage.cli.prompts import confirm
from phimage.settings import Settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group(short_help="Maintain the store of image bytes.")
def store() -> None:
    """Maintain the store of image bytes of the installation on this machine."""


@store.command(short_help="Remove the bytes that no image needs.")
@click.option("--grace", default="24h", show_default=True, metavar="TIME", help="Keep younger objects; at least 1h.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
@click.option("--remove", type=click.IntRange(0), metavar="N", help="Confirm the removal of N chunks and manifests.")
@of_installation
@json_option
def gc(settings: Settings, grace: str, dry_run: bool, remove: int | None, as_json: bool) -> None:
    """Remove chunks and manifests that no image needs, parts of abandoned uploads, and work files of ended jobs.

    It is safe at any time, also while images are published, downloaded and removed, and may be repeated. It keeps objects that
    were stored less than the grace ago, so that an interrupted publication finds its chunks, and the bytes of images that were
    withdrawn less than the grace ago, for running downloads and for `phimage image restore`.

    A removal of more than half of the store, or of all of it, may mean that the database is the wrong one. It is refused until
    --remove gives the exact number of chunks and manifests.

    \b
    Examples:
      phimage store gc --dry-run --data-dir /var/lib/phimage
      phimage store gc --grace 1h
      phimage store gc --remove 4711
    """
    from phimage.application import open_zstd_cache
    from phimage.catalog import backups
    from phimage.installation import command_author, opened_store
    from phimage.maintenance import gc

    seconds = parse_time(grace, "--grace")
    if seconds < 3600:
        raise click.UsageError(f"--grace {grace}: running publications need at least 1h; give that or more")
    waits = patience()
    with opened_store(settings, waits) as (catalog, opened), working("collecting"):
        collected = gc.collect_garbage(
            catalog,
            opened,
            open_zstd_cache(settings, opened),
            settings.work_folder,
            command_author("CollectStore"),
            grace_seconds=seconds,
            dry_run=dry_run,
            approve=gc.refuse_large(remove),
            patience=waits,
        )
        with catalog.database.read() as connection:
            held = backups.active_holds(connection, time.time())
    if as_json:
        print_json(_pascal(msgspec.to_builtins(collected)))
        return
    report, would = collected.store, "would be " if dry_run else ""
    removed = f"{report.removed_chunks} chunks and {report.removed_manifests} manifests"
    echo(f"{removed} {would}removed, {format_size(report.removed_bytes)}")
    if collected.uploads or collected.abandoned:
        echo(f"{collected.uploads} uploads {would}removed, {collected.abandoned} {would}given up after an hour without a part")
    if collected.failed:
        echo(f"{collected.failed} base images that failed {would}withdrawn")
    if collected.zstd_files or collected.work_files:
        echo(f"{collected.zstd_files} cached zstd files and {collected.work_files} work files {would}removed")
    echo(f"{report.live_chunks} chunks of {report.live_manifests} disks stay, and {report.young} others within the grace")
    if held:
        oldest = min(hold.revision for hold in held)
        many = f"{len(held)} holds keep" if len(held) > 1 else "1 hold keeps"
        note(f"{many} the bytes of images since revision {oldest}; `phimage backup hold` lists them")
    if dry_run and gc.is_large(report):
        note(f"this is more than half of the store, or all of it: confirm it with --remove {report.removed}")


@store.command(short_help="Take over the store for this installation.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@of_installation
def adopt(settings: Settings, yes: bool) -> None:
    """Take over the store: write this installation's id into it in place of any other.

    A store carries the id of its installation; servers, publishers and commands refuse the store of another one. Adopt a store
    when its former installation is gone, or when an empty store replaces a lost one. From then on, objects that the database
    does not refer to are garbage.

    \b
    Example:
      phimage store adopt --data-dir /var/lib/phimage
    """
    from phimage import ownership
    from phimage.installation import opened_unverified

    with opened_unverified(settings) as (catalog, opened):
        owner = ownership.compare(catalog.database, opened)
        place = opened.describe()
        if owner.ours:
            echo(f"{place} already belongs to this installation")
            return
        whose = f"belongs to installation {ownership.shown(owner.owners)}" if owner.owners else "belongs to no installation"
        note(f"{place} {whose}; this database refers to {owner.present} of its manifests")
        if not yes:
            confirm(f"Make it the store of installation {ownership.shown([owner.id])}?", "use --yes")
        ownership.adopt(catalog.database, opened)
    echo(f"{place} now belongs to this installation")


@store.command(short_help="Show how much space images take.")
@click.option("--server", is_flag=True, help="Ask the server, with an operator's key, for what a publisher measured last.")
@of_installation
@json_option
@connecting
def stats(settings: Settings, server: bool, connect: Connect, as_json: bool) -> None:
    """Show how much space images take: bytes of their disks, stored bytes, and how many of these each shares with others.

    It measures the store of the installation on this machine. With --server it asks a server elsewhere, which answers at
    once: a publisher measures after changes, at most once a minute, and at least once an hour.

    \b
    Examples:
      phimage store stats --data-dir /var/lib/phimage
      phimage store stats --server --profile operator
    """
    if server:
        with connect() as session:
            fields = session.client.call("GetStoreStatistics", Limit=1000).fields
        measured = {name: value for name, value in fields.items() if name not in ("RetCode", "Action")}
    else:
        measured = _measured_here(settings)
    stored = measured["Stored"]
    ratio = measured["Logical"] / stored if stored else 0.0
    if as_json:
        print_json({"Store": measured["Store"], "Ratio": round(ratio, 3), **measured})
        return
    if server and not measured["MeasureTime"]:
        note("no publisher has measured the store yet: one does within a minute of its start")
        return
    rows = (
        [
            ", ".join(one["ImageIds"]),
            *(format_size(one[name]) for name in ("Logical", "Data", "Own", "Shared")),
            str(one["Missing"]) if one["Missing"] else "-",
        ]
        for one in measured["Images"]
    )
    print_table(("IMAGE", "DISK", "DATA", "OWN", "SHARED", "MISSING CHUNKS"), rows, empty="no image has bytes")
    sizes = {name: format_size(measured[name]) for name in ("Logical", "Stored", "Unneeded", "Other")}
    note(
        f"{printable(measured['Store'])}: disks of {sizes['Logical']} stored in {sizes['Stored']}, {ratio:.1f} to 1; "
        f"{sizes['Unneeded']} that no image needs, {sizes['Other']} of other objects"
    )
    if server:
        note(f"measured {format_age(measured['Age'])} ago at revision {measured['Revision']}")
        if measured["DiskCount"] > len(measured["Images"]):
            note(f"shown are the {len(measured['Images'])} of {measured['DiskCount']} disks that use the most space alone")


def _measured_here(settings: Settings) -> dict[str, Any]:
    """Measure the store now, with the names of GetStoreStatistics."""
    from phimage.installation import opened_store
    from phimage.maintenance import verify

    with opened_store(settings, patience()) as (catalog, opened), working("measuring"):
        usage, images = verify.stats(catalog, opened)
        fields = _pascal(msgspec.to_builtins(usage))
        for one in fields["Images"]:
            one["ImageIds"] = images[one["Manifest"]]
        return {"Store": opened.describe(), **fields}


def parse_time(text: str, option: str) -> float:
    """Parse a time such as 24h into seconds. Raises UsageError that names the option."""
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if match is None:
        raise click.UsageError(f"{option} {text}: expected a time such as 24h, 90m or 2d")
    return float(int(match[1]) * _UNITS[match[2] or "s"])


def format_size(size: int) -> str:
    """Format a number of bytes for people, such as 1.5 GiB."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f} {unit}"
    return f"{size} B"


def _pascal(value: Any) -> Any:
    """Convert names to PascalCase, as in all JSON of phimage."""
    if isinstance(value, dict):
        return {"".join(part.capitalize() for part in name.split("_")): _pascal(inner) for name, inner in value.items()}
    return [_pascal(inner) for inner in value] if isinstance(value, list | tuple) else value
