"""What `phimage db check` finds (`maintenance.check`): nothing in what phimage wrote, and what is out of order by name."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from phimage.catalog import schema, tables
from phimage.catalog.engine import Database, open_database
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.views import Catalog
from phimage.maintenance.check import MAX_REPORTED, VERSIONED, check
from phimage.maintenance.copy import TableDigest, digest_of_table
from tests.conftest import MASTER_KEY, both_databases, sqlite_first
from tests.contract.full import fill
from tests.postgresql import PostgreSQL

dialect = sqlite_first


@pytest.fixture
def full(empty_database: Database) -> Catalog:
    """A catalogue in a database that is used for nothing else."""
    schema.create_or_check(empty_database)
    catalog = Catalog(empty_database, key_encryption())
    fill(catalog)
    return catalog


def key_encryption() -> KeyEncryption:
    """One whose randomness is the same in every run, and so are the pages of a database file."""
    return KeyEncryption(MASTER_KEY, random.Random(1).randbytes)


def found(catalog: Catalog) -> list[tuple[str, str, str]]:
    findings = check(catalog.database, catalog.key_encryption)
    msgspec.json.encode(findings)  # as `db check --json` does
    return [(finding.check, finding.table, finding.what) for finding in findings]


def run(catalog: Catalog, *statements: str) -> None:
    with catalog.database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


@both_databases
def test_what_phimage_wrote_is_well(full: Catalog) -> None:
    assert found(full) == []


def test_an_empty_catalogue_is_well(catalog: Catalog) -> None:
    assert found(catalog) == []


BROKEN = {
    "a revision is lost": (
        ["DELETE FROM revision WHERE number = 2", "DELETE FROM change WHERE revision = 2 AND noun <> 'image'"],
        ("contiguous", "revision", "there are 2 revisions, but the newest has number 3"),
    ),
    "the head is behind": (["UPDATE head SET number = 2"], ("head", "head", "has number 2, but the newest revision is 3")),
    "the head is lost": (["DELETE FROM head"], ("head", "head", "has 0 rows, expected one")),
    "time goes back": (
        ["UPDATE revision SET time = 1 WHERE number = 3"],
        ("time", "revision", "revision 3 has an earlier time than the one before it"),
    ),
    "a revision without changes": (
        ["DELETE FROM change WHERE revision = 3"],
        ("log", "revision", "revision 3 has no changes"),
    ),
    "a change without a revision": (
        ["DELETE FROM revision WHERE number = 3"],
        ("log", "change", "changes refer to revision 3, which does not exist"),
    ),
    "a row that ends before it begins": (
        ["UPDATE region SET until = 1 WHERE since = 1"],
        ("order", "region", "cn-bj2 begins at revision 1 and ends at 1"),
    ),
    "two rows at once": (
        ["UPDATE region SET until = 9 WHERE since = 1"],
        ("one row", "region", "cn-bj2 has more than one row at revision 3"),
    ),
    "two living rows": (
        ["DROP INDEX uq_region_live", "UPDATE region SET until = 9223372036854775807"],
        ("schema", "", "differs from the schema that phimage creates: "),
    ),
    "a row that nobody made": (
        ["DELETE FROM change WHERE noun = 'offer'"],
        ("log", "offer", "the log has no record of DB-2/cn-bj2-02/25G, which begins at revision 1"),
    ),
    "an end that nobody made": (
        ['UPDATE "user" SET until = 2 WHERE id = 50000002'],
        ("log", "user", "the log has no record of 50000002, which ends at revision 2"),
    ),
    "a row that is lost": (
        ["DELETE FROM image WHERE id = 'pimg-0001'"],
        ("log", "image", "the log records pimg-0001 in revision 1, but no row begins or ends there"),
    ),
    "an encrypted key that was altered": (
        ["UPDATE key SET encrypted = (SELECT encrypted FROM key WHERE id = 'key-gone') WHERE id = 'key-main'"],
        ("encryption", "key", "the private key of key-main cannot be decrypted with this master key"),
    ),
    "a column that is missing": (
        ["ALTER TABLE zone DROP COLUMN name_en"],
        ("schema", "", "differs from the schema that phimage creates: "),
    ),
    "another schema": (
        ["UPDATE alembic_version SET version_num = '0001'"],
        ("schema", "alembic_version", f"schema 0001, and this phimage checks {schema.newest()}"),
    ),
}


@pytest.mark.parametrize(("statements", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_out_of_order_is_named(full: Catalog, statements: list[str], told: tuple[str, str, str]) -> None:
    run(full, *statements)

    kind, table, words = told
    assert [what for what in found(full) if what[:2] == (kind, table) and what[2].startswith(words)]


def test_a_database_with_another_master_key_is_told(full: Catalog) -> None:
    findings = check(full.database, KeyEncryption(bytes(32), os.urandom))
    assert {finding.what.split()[4] for finding in findings} == {"key-main", "key-gone"}


def test_of_one_kind_of_finding_only_the_first_are_told(full: Catalog) -> None:
    run(full, "DELETE FROM image")
    assert len(found(full)) <= 3 * MAX_REPORTED


def test_every_part_is_told_as_it_begins(full: Catalog) -> None:
    told: list[tuple[str, int, int]] = []
    check(full.database, full.key_encryption, lambda part, number, parts: told.append((part, number, parts)))
    assert [part for part, _, _ in told] == ["integrity", "revisions", *(table.name for table in VERSIONED), "encrypted keys"]
    assert [(number, parts) for _, number, parts in told] == [(number, len(told)) for number in range(len(told))]


# files


def digests(database: Database) -> list[TableDigest]:
    """Of every row of every table, as `copy` compares them."""
    with database.read() as connection:
        return [digest_of_table(connection, table) for table in tables.metadata.sorted_tables]


SECTOR = 512


@pytest.mark.more
def test_a_damaged_sector_of_an_sqlite_file_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"

    url, encryption = URL.create("sqlite", database=str(path)), key_encryption()
    database = open_database(url)
    schema.create_or_check(database)
    fill(Catalog(database, encryption))
    right = digests(database)
    database.close()
    good = path.read_bytes()
    noticed = 0
    for seed in range(24):
        chance = random.Random(seed)
        damaged = bytearray(good)
        at = chance.randrange(len(good) // SECTOR) * SECTOR
        damaged[at : at + SECTOR] = bytes(SECTOR) if seed % 2 else chance.randbytes(SECTOR)
        path.write_bytes(damaged)
        database = open_database(url)
        if check(database, encryption):
            noticed += 1
        else:
            assert digests(database) == right, f"seed {seed}: the sector at {at} is not noticed"
        database.close()
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
    assert noticed > 3


def test_a_damaged_page_of_postgresql_is_noticed(postgresql: PostgreSQL) -> None:
    """Its checksum is compared when it is read from the disk, so the damage comes before anybody has read it."""
    name = postgresql.create()
    database = open_database(make_url(postgresql.url(name)).set(drivername="postgresql+psycopg"))
    schema.create_or_check(database)
    fill(Catalog(database, key_encryption()))
    assert check(database, key_encryption()) == []
    database.close()

    copied = postgresql.damaged_copy(name, "image")

    database = open_database(make_url(postgresql.url(copied)).set(drivername="postgresql+psycopg"))
    try:
        [finding] = check(database, key_encryption())
    finally:
        database.close()
    assert (finding.check, finding.table, "invalid page" in finding.what) == ("integrity", "image", True)
