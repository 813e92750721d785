"""`phimage store`: the bytes of all images, where they are kept."""

from __future__ import annotations

import re
from typing import Any

import click
import msgspec

from phimage.cli.installation import of_installation
from phimage.cli.output import json_option, note, print_json, print_table, working
from phimage.settings import Settings

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group(short_help="Look after the bytes of images.")
def store() -> None:
    """Look after the bytes of images in the store of this machine's installation."""


@store.command(short_help="Remove what no image needs.")
@click.option("--grace", default="24h", show_default=True, metavar="TIME", help="Keep what is younger; 1h at least.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@of_installation
@json_option
def gc(settings: Settings, grace: str, dry_run: bool, as_json: bool) -> None:
    """Remove what no image needs: chunks and manifests, parts of given-up uploads, files of ended work.

    It is safe at any time, while images are published, downloaded and removed, and to repeat. What was stored less than the
    grace ago stays, so that a publication that broke off finds its chunks again, and so does what an image that was withdrawn
    less than the grace ago had, for downloads that run and for `phimage image restore`.

    \b
    Examples:
      phimage store gc --dry-run --data /var/lib/phimage
      phimage store gc --grace 1h
    """
    from phimage import care
    from phimage.bootstrap import command_author, open_packs, opened_store

    seconds = _seconds(grace)
    with opened_store(settings) as (catalog, opened), working("looking for what no image needs"):
        swept = care.sweep(
            catalog,
            opened,
            open_packs(settings, opened),
            settings.work_folder,
            command_author("CollectStore"),
            grace_seconds=seconds,
            dry_run=dry_run,
        )
    if as_json:
        print_json(_pascal(msgspec.to_builtins(swept)))
        return
    report, would = swept.store, "would be " if dry_run else ""
    click.echo(
        f"{report.removed_chunks} chunks and {report.removed_manifests} manifests {would}removed, {_size(report.removed_bytes)}"
    )
    if swept.uploads or swept.abandoned:
        click.echo(f"{swept.uploads} uploads {would}removed, {swept.abandoned} {would}given up after an hour")
    if swept.failed:
        click.echo(f"{swept.failed} base images that failed {would}withdrawn")
    if swept.packs or swept.work_files:
        click.echo(f"{swept.packs} packs and {swept.work_files} work files {would}removed")
    click.echo(f"{report.live_chunks} chunks of {report.live_manifests} disks stay; {report.young} more are in their grace")


@store.command(short_help="Say what images cost.")
@of_installation
@json_option
def stats(settings: Settings, as_json: bool) -> None:
    """Say what images cost: bytes of their disks, bytes stored, and what each has to itself and shares with others.

    \b
    Example:
      phimage store stats --data /var/lib/phimage
    """
    from phimage import care
    from phimage.bootstrap import opened_store

    with opened_store(settings) as (catalog, opened), working("measuring"):
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
            *(_size(size) for size in (one.logical, one.data, one.own, one.shared)),
            str(one.missing) if one.missing else "-",
        ]
        for one in found.images
    )
    print_table(("IMAGE", "DISK", "DATA", "OWN", "SHARED", "MISSING CHUNKS"), rows, empty="no image has bytes")
    note(
        f"{where}: disks of {_size(found.logical)} stored in {_size(found.stored)}, {found.ratio:.1f} to 1; "
        f"{_size(found.unneeded)} that no image needs, {_size(found.other)} besides"
    )


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if found is None:
        raise click.UsageError(f"--grace {text}: expected a time such as 24h, 90m or 2d")
    seconds = int(found[1]) * _UNITS[found[2] or "s"]
    if seconds < 3600:
        raise click.UsageError(f"--grace {text}: whoever publishes now relies on 1h; give that or more")
    return float(seconds)


def _size(size: int) -> str:
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f} {unit}"
    return f"{size} B"


def _pascal(value: Any) -> Any:
    """Names as all JSON of phimage has them."""
    if isinstance(value, dict):
        return {"".join(part.capitalize() for part in name.split("_")): _pascal(inner) for name, inner in value.items()}
    return [_pascal(inner) for inner in value] if isinstance(value, list | tuple) else value
