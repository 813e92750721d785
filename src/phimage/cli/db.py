"""`phimage db`: the database of an installation."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from phimage.cli.exit_codes import FINDINGS
from phimage.cli.installation import of_installation, patience
from phimage.cli.output import echo, json_option, print_json, print_table, steps
from phimage.settings import Settings


@click.group(short_help="Check, upgrade and copy the database.")
def db() -> None:
    """Check, upgrade and copy the database of the installation on this machine."""


@db.command(short_help="Show the version of the schema.")
@of_installation
@json_option
def status(settings: Settings, as_json: bool) -> None:
    """Show the version of the database's schema and the version that this phimage needs.

    \b
    Example:
      phimage db status --data-dir /var/lib/phimage
    """
    from phimage.catalog import schema
    from phimage.installation import open_existing

    database = open_existing(settings, patience())
    try:
        status = schema.status(database)
    finally:
        database.close()
    if as_json:
        print_json({"Schema": status.version, "Needed": schema.newest(), "Oldest": status.oldest})
    else:
        allowed = f", for programs of schema {status.oldest} and newer" if status.oldest else ""
        echo(f"schema {status.version or 'none'}{allowed}, needed {schema.newest()}")


@db.command(short_help="Upgrade the schema.")
@of_installation
def upgrade(settings: Settings) -> None:
    """Upgrade the database to the schema that this phimage needs, in one transaction.

    Servers may run meanwhile. Servers of an older phimage work with the new schema unless `phimage db status` excludes them.

    \b
    Example:
      phimage db upgrade --data-dir /var/lib/phimage
    """
    from phimage.catalog import schema
    from phimage.installation import open_existing

    database = open_existing(settings, patience())
    try:
        schema.upgrade(database)
    finally:
        database.close()
    echo(f"schema {schema.newest()}")


@db.command(short_help="Check the database and the store's manifests and chunks.")
@of_installation
@json_option
def check(settings: Settings, as_json: bool) -> None:
    """Check that the database is intact and that the store has what it refers to. Exits with 1 if there are findings.

    It checks the database's own files and tables, the rows of every noun against the log of revisions, that every private key
    can be decrypted, that the store belongs to the installation, and that it has every manifest and chunk that images need.
    `phimage image verify` also compares their bytes. Servers may run meanwhile.

    \b
    Example:
      phimage db check --data-dir /var/lib/phimage
    """
    from phimage.maintenance.check import check_installation

    with steps("checking") as step:
        findings = check_installation(settings, step, patience())
    if as_json:
        print_json(
            {"Findings": [{"Check": finding.check, "Table": finding.table, "What": finding.what} for finding in findings]}
        )
    else:
        rows = [(finding.check, finding.table, finding.what) for finding in findings]
        print_table(("CHECK", "TABLE", "WHAT"), rows, empty="no findings")
    if findings:
        sys.exit(FINDINGS)


@db.command(short_help="Copy the database to another one.")
@of_installation
@click.option(
    "--to", metavar="URL", required=True, envvar="PHIMAGE_COPY_TO", help="Empty target: postgresql://... or sqlite:///FILE."
)
@json_option
def copy(settings: Settings, to: str, as_json: bool) -> None:
    """Copy the database to another, empty one, and verify the copy.

    From SQLite to PostgreSQL, or back. The copy is of one moment, is written in one transaction, and is read back; the source
    does not change. Stop the servers first: later changes are not in the copy. The master key stays the same.

    \b
    Examples:
      phimage db copy --data-dir /var/lib/phimage --to postgresql://phimage@db/phimage
      phimage db copy --database postgresql://phimage@db/phimage --to sqlite:////var/lib/phimage/catalog.sqlite
    """
    from phimage.catalog.address import check_sqlite_file, database_url
    from phimage.catalog.engine import open_database
    from phimage.installation import open_existing
    from phimage.maintenance.copy import copy, rows_to_copy

    url = database_url(to, settings.data_folder, "--to")
    if url.get_backend_name() == "sqlite":
        check_sqlite_file(Path(url.database or ""), must_exist=False)
    source = open_existing(settings, patience())
    target = open_database(url, patience())
    try:
        with steps("copying") as step:
            all_rows, done = 2 * rows_to_copy(source), 0  # each row is written and read back

            def progress(table: str, rows: int) -> None:
                nonlocal done
                done += rows
                step(table, done, all_rows)

            copied = copy(source, target, progress)
    finally:
        source.close()
        target.close()
    if as_json:
        tables = [{"Table": table.table, "Rows": table.rows, "Digest": table.digest} for table in copied.tables]
        print_json({"Revision": copied.revision, "Tables": tables})
    else:
        print_table(("TABLE", "ROWS", "DIGEST"), [(one.table, str(one.rows), one.digest) for one in copied.tables], whole=3)
        echo(f"copied as of revision {copied.revision}; every table was read back and is equal")
