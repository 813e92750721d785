"""`phimage db`: the schema of the database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from phimage.cli.output import json_option, print_json
from phimage.settings import read_settings

_options = (
    click.option("--config", type=click.Path(path_type=Path), envvar="PHIMAGE_CONFIG", help="TOML file of settings."),
    click.option("--data", metavar="FOLDER", help="Data folder.  [default: phimage-data]"),
    click.option("--database", metavar="URL", help="postgresql://...  [default: SQLite in the data folder]"),
)


def _database(command: Any) -> Any:
    for option in reversed(_options):
        command = option(command)
    return command


@click.group(short_help="Look after the database.")
def db() -> None:
    """Look after the database of this machine's installation."""


@db.command()
@_database
@json_option
def status(config: Path | None, as_json: bool, **flags: Any) -> None:
    """Say which schema the database has and which one this phimage needs.

    \b
    Example:
      phimage db status --data /var/lib/phimage
    """
    from phimage.bootstrap import open_existing
    from phimage.catalog import schema

    database = open_existing(read_settings(config, os.environ, flags))
    try:
        found = schema.version(database)
    finally:
        database.close()
    if as_json:
        print_json({"Schema": found, "Needed": schema.newest()})
    else:
        click.echo(f"schema {found or 'none'}, needed {schema.newest()}")


@db.command()
@_database
def upgrade(config: Path | None, **flags: Any) -> None:
    """Bring the database to the schema that this phimage needs, in one transaction.

    \b
    Example:
      phimage db upgrade --data /var/lib/phimage
    """
    from phimage.bootstrap import open_existing
    from phimage.catalog import schema

    database = open_existing(read_settings(config, os.environ, flags))
    try:
        schema.upgrade(database)
    finally:
        database.close()
    click.echo(f"schema {schema.newest()}")
