"""`phimage store`: the bytes of all images, where they are kept."""

from __future__ import annotations

import re
import time
from typing import Any

import click
import msgspec

from phimage.cli.installation import of_installation, patience
from phimage.cli.output import json_option, note, print_json, print_table, working
from phimage.settings import Settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group(short_help="Look after the bytes of images.")
def store() -> None:
    """Look after the bytes of images in the store of this machine's installation."""


@store.command(short_help="Remove what no image needs.")
@click.option("--grace", default="24h", show_default=True, metavar="TIME", help="Keep what is younger; 1h at least.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--remove", type=click.IntRange(0), metavar="N", help="Confirm that N chunks and manifests are to be removed.")
@of_installation
@json_option
def gc(settings: Settings, grace: str, dry_run: bool, remove: int | None, as_json: bool) -> None:
    """Remove what no image needs: chunks and manifests, parts of given-up uploads, files of ended work.

    It is safe at any time, while images are published, downloaded and removed, and to repeat. What was stored less than the
    grace ago stays, so that a publication that broke off finds its chunks again, and so does what an image that was withdrawn
    less than the grace ago had, for downloads that run and for `phimage image restore`.

    A removal of more than half of the store, or of everything, may mean that the database is not the right one. It is refused
    until --remove says how many chunks and manifests it removes.

    \b
    Examples:
      phimage store gc --dry-run --data-dir /var/lib/phimage
      phimage store gc --grace 1h
      phimage store gc --remove 4711
    """
    from phimage import care
    from phimage.bootstrap import command_author, open_zstd_cache, opened_store
    from phimage.catalog import holds

    seconds = time_in_seconds(grace, "--grace")
    if seconds < 3600:
        raise click.UsageError(f"--grace {grace}: whoever publishes now relies on 1h; give that or more")
    waits = patience()
    with opened_store(settings, waits) as (catalog, opened), working("looking for what no image needs"):
        swept = care.sweep(
            catalog,
            opened,
            open_zstd_cache(settings, opened),
            settings.work_folder,
            command_author("CollectStore"),
            grace_seconds=seconds,
            dry_run=dry_run,
            approve=care.refuse_large(remove),
            patience=waits,
        )
        with catalog.database.read() as connection:
            held = holds.active(connection, time.time())
    if as_json:
        print_json(_pascal(msgspec.to_builtins(swept)))
        return
    report, would = swept.store, "would be " if dry_run else ""
    removed = f"{report.removed_chunks} chunks and {report.removed_manifests} manifests"
    click.echo(f"{removed} {would}removed, {size_in_words(report.removed_bytes)}")
    if swept.uploads or swept.abandoned:
        click.echo(f"{swept.uploads} uploads {would}removed, {swept.abandoned} {would}given up after an hour")
    if swept.failed:
        click.echo(f"{swept.failed} base images that failed {would}withdrawn")
    if swept.zstd_files or swept.work_files:
        click.echo(f"{swept.zstd_files} cached zstd files and {swept.work_files} work files {would}removed")
    click.echo(f"{report.live_chunks} chunks of {report.live_manifests} disks stay; {report.young} more are in their grace")
    if held:
        oldest = min(hold.revision for hold in held)
        many = f"{len(held)} holds keep" if len(held) > 1 else "1 hold keeps"
        note(f"{many} what images needed since revision {oldest}; `phimage backup hold` lists them")
    if dry_run and care.is_large(report):
        note(f"that is more than half, or all: it needs --remove {report.removed}")


@store.command(short_help="Make the store this installation's.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@of_installation
def adopt(settings: Settings, yes: bool) -> None:
    """Write this installation's id into the store in place of any other.

    A store carries the id of its installation; servers, publishers and commands refuse a store of another one. Adopt a store
    when the installation that it belonged to is gone, or when bytes are lost and an empty store takes their place. What the
    database does not refer to is garbage from then on.

    \b
    Example:
      phimage store adopt --data-dir /var/lib/phimage
    """
    from phimage import ownership
    from phimage.bootstrap import opened_parts

    with opened_parts(settings) as (catalog, opened):
        found = ownership.look(catalog.database, opened)
        place = opened.describe()
        if found.ours:
            click.echo(f"{place} is this installation's already")
            return
        whose = f"belongs to installation {ownership.shown(found.owners)}" if found.owners else "belongs to no installation"
        note(f"{place} {whose}; this database refers to {found.present} of its manifests")
        if not yes:
            click.confirm(f"Make it the store of installation {ownership.shown([found.id])}?", abort=True, err=True)
        ownership.adopt(catalog.database, opened)
    click.echo(f"{place} is this installation's now")


@store.command(short_help="Say what images cost.")
@of_installation
@json_option
def stats(settings: Settings, as_json: bool) -> None:
    """Say what images cost: bytes of their disks, bytes stored, and what each has to itself and shares with others.

    \b
    Example:
      phimage store stats --data-dir /var/lib/phimage
    """
    from phimage import care
    from phimage.bootstrap import opened_store

    with opened_store(settings, patience()) as (catalog, opened), working("measuring"):
        found, images = care.stats(catalog, opened)
        where = opened.describe()
    if as_json:
        told = _pascal(msgspec.to_builtins(found))
        for one in told["Images"]:
            one["ImageIds"] = images[one["Manifest"]]
        print_json({"Store": where, "Ratio": round(found.ratio, 3), **told})
        return
    rows = (
        [
            ", ".join(images[one.manifest]),
            *(size_in_words(size) for size in (one.logical, one.data, one.own, one.shared)),
            str(one.missing) if one.missing else "-",
        ]
        for one in found.images
    )
    print_table(("IMAGE", "DISK", "DATA", "OWN", "SHARED", "MISSING CHUNKS"), rows, empty="no image has bytes")
    note(
        f"{where}: disks of {size_in_words(found.logical)} stored in {size_in_words(found.stored)}, {found.ratio:.1f} to 1; "
        f"{size_in_words(found.unneeded)} that no image needs, {size_in_words(found.other)} besides"
    )


def time_in_seconds(text: str, option: str) -> float:
    """Seconds of a time such as 24h. Raises UsageError that names the option."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if found is None:
        raise click.UsageError(f"{option} {text}: expected a time such as 24h, 90m or 2d")
    return float(int(found[1]) * _UNITS[found[2] or "s"])


def size_in_words(size: int) -> str:
    """A number of bytes for people."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f} {unit}"
    return f"{size} B"


def _pascal(value: Any) -> Any:
    """Names as all JSON of phimage has them."""
    if isinstance(value, dict):
        return {"".join(part.capitalize() for part in name.split("_")): _pascal(inner) for name, inner in value.items()}
    return [_pascal(inner) for inner in value] if isinstance(value, list | tuple) else value
