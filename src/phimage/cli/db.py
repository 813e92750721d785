"""`phimage db`: the schema of the database."""

from __future__ import annotations

import click

from phimage.cli.installation import of_installation
from phimage.cli.output import json_option, print_json
from phimage.settings import Settings


@click.group(short_help="Look after the database.")
def db() -> None:
    """Look after the database of this machine's installation."""


@db.command()
@of_installation
@json_option
def status(settings: Settings, as_json: bool) -> None:
    """Say which schema the database has and which one this phimage needs.

    \b
    Example:
      phimage db status --data /var/lib/phimage
    """
    from phimage.bootstrap import open_existing
    from phimage.catalog import schema

    database = open_existing(settings)
    try:
        found = schema.version(database)
    finally:
        database.close()
    if as_json:
        print_json({"Schema": found, "Needed": schema.newest()})
    else:
        click.echo(f"schema {found or 'none'}, needed {schema.newest()}")


@db.command()
@of_installation
def upgrade(settings: Settings) -> None:
    """Bring the database to the schema that this phimage needs, in one transaction.

    \b
    Example:
      phimage db upgrade --data /var/lib/phimage
    """
    from phimage.bootstrap import open_existing
    from phimage.catalog import schema

    database = open_existing(settings)
    try:
        schema.upgrade(database)
    finally:
        database.close()
    click.echo(f"schema {schema.newest()}")
