"""`phimage backup hold`: what collection keeps for a database that may go back in time."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

import click

from phimage.cli.installation import of_installation
from phimage.cli.output import json_option, print_json, print_table
from phimage.cli.store import time_in_seconds
from phimage.errors import SetupError
from phimage.settings import Settings


@click.command(short_help="Keep collected bytes for a time.")
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
      phimage backup hold 48h --data-dir /var/lib/phimage
      phimage backup hold
      phimage backup hold --release hold-5d2f01c3a9b4
    """
    from phimage.catalog import backups
    from phimage.installation import open_catalog

    if duration and release:
        raise click.UsageError("give a time, or --release ID")
    seconds = time_in_seconds(duration, "TIME") if duration else 0.0
    catalog = open_catalog(settings)
    try:
        now = time.time()
        if release and not backups.release_hold(catalog.database, release):
            raise SetupError(f"there is no hold {release}; `phimage backup hold` lists them")
        if duration:
            backups.add_hold(catalog.database, f"hold-{secrets.token_hex(6)}", "backup hold", now=now, seconds=seconds)
        with catalog.database.read() as connection:
            found = backups.active_holds(connection, now)
    finally:
        catalog.database.close()
    if as_json:
        told = [{"Id": one.id, "Revision": one.revision, "Expires": int(one.expires), "Reason": one.reason} for one in found]
        print_json({"HoldSet": told})
        return
    rows = ((one.id, str(one.revision), _when(one.expires), one.reason) for one in found)
    print_table(("HOLD", "SINCE REVISION", "UNTIL", "FOR"), rows)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
