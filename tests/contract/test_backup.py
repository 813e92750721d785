"""Backups of an installation that is in use: whole, incremental, safe from collections, and never half listed."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from phimage.backup.create import HOLD_SECONDS, HeldRevision, create
from phimage.backup.database_file import write_database_file
from phimage.backup.place import GRACE_SECONDS, MARK, BackupPlace, prune
from phimage.backup.record import BackupFailed, object_name
from phimage.backup.restore import restore
from phimage.backup.verify import verify
from phimage.catalog import backups
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.views import Catalog
from phimage.chunks.decorators import Operation
from phimage.chunks.folder import FolderStore
from phimage.chunks.layout import CHUNKS, MANIFESTS, MIN_GRACE_SECONDS, chunk_name, frame_list_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, write_file
from phimage.errors import ClientError, SetupError
from phimage.installation import open_catalog, open_operator_account, prepare
from phimage.maintenance import gc
from phimage.maintenance.copy import opened
from phimage.settings import Settings
from tests.backing_up import PAST, Killed, at_call, back_up, check_whole, publish, restored_to, withdraw
from tests.conftest import MASTER_KEY, both_databases, sqlite_first
from tests.contract import stores
from tests.publishing.shop import Shop

dialect = sqlite_first

s3, store_beside = stores.s3, stores.store_beside

LATER = 2 * MIN_GRACE_SECONDS
"""So much later, what a test has put is older than the least grace, and a hold of now has not expired."""


@pytest.fixture
def shop(catalog: Catalog, store_beside: Store, tmp_path: Path) -> Shop:
    open_operator_account(catalog)
    return Shop(catalog, store_beside, tmp_path / "work", author=PAST)


@pytest.fixture
def place(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackupPlace]:
    """Where backups go: a folder beside SQLite, S3 beside PostgreSQL."""
    if dialect == "sqlite":
        yield BackupPlace(FolderStore(tmp_path / "backups"))
        return
    server: stores.S3Server = request.getfixturevalue("s3")
    store = server.new_store()
    store.settle_seconds = 0.0
    yield BackupPlace(store)


@pytest.fixture
def small(tmp_path: Path, sqlite_template: Path) -> Iterator[Shop]:
    """On SQLite and a folder alone: for what does not depend on the database or the store."""
    shutil.copyfile(sqlite_template, tmp_path / "small.sqlite")
    with opened(tmp_path / "small.sqlite") as database:
        catalog = Catalog(database, KeyEncryption(MASTER_KEY, bytes))
        open_operator_account(catalog)
        yield Shop(catalog, FolderStore(tmp_path / "store"), tmp_path / "work", author=PAST)


def sweep(shop: Shop) -> gc.CollectedGarbage:
    """Collect, as it will be some time later."""
    return gc.collect_garbage(
        *(shop.catalog, shop.store, shop.work, PAST),
        grace_seconds=MIN_GRACE_SECONDS,
        now=lambda: time.time() + LATER,
    )


# whole and incremental


@both_databases
def test_a_backup_of_an_installation_in_use_is_whole(shop: Shop, place: BackupPlace, tmp_path: Path) -> None:
    images = {publish(shop, tmp_path, number) for number in (1, 2)}

    made = back_up(shop, place)

    assert place.names() == [made.record.name]
    assert check_whole(place, made.record, tmp_path / "restored") == images


def test_a_second_backup_of_an_unchanged_store_sends_no_chunk(shop: Shop, place: BackupPlace, tmp_path: Path) -> None:
    frames = frame_list_name(shop.content(publish(shop, tmp_path, 1)).manifest)
    first = back_up(shop, place).images
    again = back_up(shop, place).images
    publish(shop, tmp_path, 2)
    more = back_up(shop, place).images

    assert first.sent_chunks == first.chunks > 0
    assert place.store.get(frames) == shop.store.get(frames)
    assert (again.sent_chunks, again.sent_bytes, again.sent_manifests, again.chunks) == (0, 0, 0, first.chunks)
    assert 0 < more.sent_chunks < more.chunks
    assert len(place.names()) == 3


def test_rows_that_are_only_in_the_write_ahead_log_are_in_the_backup(small: Shop, tmp_path: Path) -> None:
    image = publish(small, tmp_path, 1)
    shutil.copyfile(tmp_path / "small.sqlite", tmp_path / "file-alone.sqlite")
    with opened(tmp_path / "file-alone.sqlite") as alone, alone.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM image_bytes")).scalar_one() == 0, "the log has nothing to itself"
    place = BackupPlace(MemoryStore())

    assert check_whole(place, back_up(small, place).record, tmp_path / "restored") == {image}


def test_a_damaged_chunk_is_never_backed_up(small: Shop, tmp_path: Path) -> None:
    id = publish(small, tmp_path, 1)
    chunk = _chunk_of(small, id)
    small.store.put(chunk, small.store.get(chunk)[:-1] + b"\0")
    place = BackupPlace(MemoryStore())

    with pytest.raises(BackupFailed, match=rf"{chunk}: .*; find the images with `phimage image verify --all`"):
        back_up(small, place)

    assert place.names() == []
    assert place.store.find(chunk) is None


# beside collections


@pytest.mark.parametrize("held", [True, False], ids=["held", "not held"])
def test_a_withdrawal_and_a_collection_in_the_middle_take_nothing_from_a_backup(
    shop: Shop, place: BackupPlace, tmp_path: Path, *, held: bool
) -> None:
    """Without the hold the same collection removes what the backup is about to copy."""
    gone, stays = publish(shop, tmp_path, 1), publish(shop, tmp_path, 2)
    removed: list[int] = []

    def collection() -> None:
        if not held:
            with shop.catalog.database.write() as connection:
                connection.execute(text("DELETE FROM hold"))
        withdraw(shop, gone)
        removed.append(sweep(shop).store.removed_chunks)

    first_read = iter([True])
    meanwhile = at_call(shop.store, lambda operation, _: operation == "get" and next(first_read, False), collection)
    if held:
        record = back_up(shop, place, meanwhile).record
        assert removed == [0]
        assert check_whole(place, record, tmp_path / "restored") == {gone, stays}
        assert sweep(shop).store.removed_chunks > 0, "the hold ended with the backup"
    else:
        with pytest.raises(BackupFailed, match=r"is missing|is not in the store"):
            back_up(shop, place, meanwhile)
        assert removed[0] > 0
        assert place.names() == []


def test_the_hold_of_a_killed_backup_expires(catalog: Catalog) -> None:
    HeldRevision(catalog, "killed", lambda: 1000.0).__enter__()
    with catalog.database.read() as connection:
        assert backups.oldest_held(connection, 1000 + HOLD_SECONDS - 1) == 0
        assert backups.oldest_held(connection, 1000 + HOLD_SECONDS) is None


def test_a_long_backup_extends_its_hold_and_one_that_slept_past_it_fails(catalog: Catalog) -> None:
    clock = [1000.0]
    with HeldRevision(catalog, "b", lambda: clock[0]) as held:
        for _ in range(8):
            clock[0] += HOLD_SECONDS / 2
            held.keep()
        clock[0] += HOLD_SECONDS + 1
        with pytest.raises(BackupFailed, match="the hold on garbage collection expired"):
            held.keep()


@pytest.mark.parametrize("folder", [CHUNKS, MANIFESTS])
def test_what_was_collected_after_the_hold_has_expired_is_not_called_missing(
    shop: Shop, place: BackupPlace, tmp_path: Path, folder: str
) -> None:
    publish(shop, tmp_path, 1)
    slept = 0.0

    def sleep() -> None:
        nonlocal slept
        slept = HOLD_SECONDS + 1
        for stored in list(shop.store.list(folder)):
            shop.store.delete(stored.name)

    store = at_call(shop.store, lambda operation, _: operation == "get" and not slept, sleep)
    with pytest.raises(BackupFailed, match="the hold on garbage collection expired"):
        create(shop.catalog, store, place, shop.work, now=lambda: time.time() + slept)


def test_the_oldest_of_several_holds_counts_and_expired_ones_are_removed(catalog: Catalog) -> None:
    backups.add_hold(catalog.database, "short", "test", now=0, seconds=10)
    backups.add_hold(catalog.database, "long", "test", now=5, seconds=100)
    with catalog.database.read() as connection:
        assert [hold.id for hold in backups.active_holds(connection, 6)] == ["short", "long"]
        assert [hold.id for hold in backups.active_holds(connection, 50)] == ["long"]
    backups.add_hold(catalog.database, "new", "test", now=50, seconds=1)
    with catalog.database.read() as connection:
        assert [hold.id for hold in backups.active_holds(connection, 6)] == ["new", "long"]
    assert (backups.release_hold(catalog.database, "long"), backups.release_hold(catalog.database, "long")) == (True, False)


def test_a_restored_installation_holds_nothing(shop: Shop, place: BackupPlace, tmp_path: Path) -> None:
    backups.add_hold(shop.catalog.database, "of the source", "test", now=time.time(), seconds=3600)
    _, settings = restored_to(place, back_up(shop, place).record, tmp_path / "restored")
    with opened(settings.data_folder / "catalog.sqlite") as database, database.read() as connection:
        assert backups.active_holds(connection, 0) == []


# killed


def test_a_backup_that_is_killed_is_not_listed_and_the_next_one_goes_on(small: Shop, tmp_path: Path) -> None:
    """Killed before every third call of the place; a later try finds more there, so it has fewer calls."""
    publish(small, tmp_path, 1)
    place, kills, sent = BackupPlace(MemoryStore()), 0, 0
    for killed_at in range(1, 100, 3):
        dying = at_call(place.store, partial(_is, killed_at), _end)
        try:
            made = back_up(small, BackupPlace(dying))
            break
        except Killed:
            kills += 1
            assert place.names() == []
            before, sent = sent, sum(1 for _ in place.store.list(CHUNKS))
            assert sent >= before
    assert kills > 3
    assert made.images.sent_chunks == 0, "the tries before have sent them all"
    assert check_whole(place, made.record, tmp_path / "restored")


@pytest.mark.more
def test_a_restore_that_is_killed_goes_on_and_no_server_starts_before_it_ends(small: Shop, tmp_path: Path) -> None:
    publish(small, tmp_path, 1)
    place = BackupPlace(MemoryStore())
    record = back_up(small, place).record
    settings = Settings(data_dir=str(tmp_path / "restored"))
    for killed_at in range(1, 8):  # it shows progress seven times
        numbers = iter(range(1, 100))

        def end(*_: object, numbers: Iterator[int] = numbers, killed_at: int = killed_at) -> None:
            if next(numbers) == killed_at:
                raise Killed

        with pytest.raises(Killed):
            restore(place, record, settings, MASTER_KEY, progress=end)
        for start in (prepare, open_catalog):
            with pytest.raises(SetupError, match="an unfinished restore of a backup"):
                start(settings)
    assert check_whole(place, record, tmp_path / "restored")
    open_catalog(settings).database.close()


def test_a_full_disk_is_named_and_is_no_finding_about_a_backup(small: Shop, tmp_path: Path) -> None:
    place = BackupPlace(MemoryStore())
    record = back_up(small, place).record
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(ClientError, match=r"catalog\.sqlite: File too large; correct that and run"):
            verify(place, [record], now=time.time())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_half_restored_place_takes_no_other_backup(small: Shop, tmp_path: Path) -> None:
    place = BackupPlace(MemoryStore())
    one, other = back_up(small, place).record, back_up(small, place).record
    assert one.name != other.name
    with pytest.raises(Killed):
        restore(place, one, Settings(data_dir=str(tmp_path / "new")), MASTER_KEY, progress=_end)

    with pytest.raises(SetupError, match=f"is an unfinished restore of {one.name}"):
        restored_to(place, other, tmp_path / "new")


# refused before the first byte


def test_another_master_key_is_refused_before_anything_is_written(small: Shop, tmp_path: Path) -> None:
    place = BackupPlace(MemoryStore())
    record = back_up(small, place).record
    settings = Settings(data_dir=str(tmp_path / "new"))

    with pytest.raises(SetupError, match="not the master key of the backup"):
        restore(place, record, settings, bytes(32))

    assert not settings.data_folder.exists()


@pytest.mark.parametrize("what", ["data", "store", "database", "log of a database", "key"])
def test_a_place_that_has_anything_is_refused_and_left_alone(small: Shop, tmp_path: Path, what: str) -> None:
    place = BackupPlace(MemoryStore())
    record = back_up(small, place).record
    data, elsewhere = tmp_path / "new", tmp_path / "elsewhere"
    settings = Settings(data_dir=str(data), store=str(elsewhere / "store"), database=f"sqlite:///{elsewhere}/db")
    there = {
        "data": data / "notes",
        "store": elsewhere / "store/notes",
        "database": elsewhere / "db",
        "log of a database": elsewhere / "db-wal",  # SQLite would take it for that of the restored one
        "key": data / "master.key",
    }[what]
    there.parent.mkdir(parents=True)
    there.write_text("00" * 32)
    there.chmod(0o600)

    with pytest.raises(SetupError, match=r"not empty|the database .* exists|not the master key"):
        restore(place, record, settings, MASTER_KEY)

    assert [path for root in (data, elsewhere) for path in root.rglob("*") if path.is_file()] == [there]


def test_a_database_that_is_not_empty_is_refused(shop: Shop, tmp_path: Path) -> None:
    publish(shop, tmp_path, 1)
    place = BackupPlace(MemoryStore())
    record = back_up(shop, place).record
    settings = Settings(data_dir=str(tmp_path / "new"), database=_address(shop))

    with pytest.raises(SetupError, match=r"the database is not empty|the database .* exists"):
        restore(place, record, settings, MASTER_KEY)

    assert not settings.data_folder.exists()


def test_the_store_of_an_installation_and_the_place_of_another_one_are_refused(small: Shop, tmp_path: Path) -> None:
    publish(small, tmp_path, 1)
    with pytest.raises(SetupError, match="has other objects"):
        back_up(small, BackupPlace(small.store))
    assert small.store.find(MARK) is None

    place = BackupPlace(MemoryStore())
    place.claim("0" * 64)
    with pytest.raises(SetupError, match="another master key"):
        back_up(small, place)


# verified


def test_verifying_names_a_damaged_chunk_and_the_next_backup_sends_it_again(
    shop: Shop, place: BackupPlace, tmp_path: Path
) -> None:
    id = publish(shop, tmp_path, 1)
    record = back_up(shop, place).record
    chunk = _chunk_of(shop, id)
    place.store.put(chunk, place.store.get(chunk)[:-1] + b"\0")

    (problem,) = verify(place, [record], now=time.time() + 60, quarantine=True).problems

    assert (problem.kind, problem.backups) == ("corrupt", (record.name,))
    assert chunk.rpartition("/")[2] in problem.what
    assert [one.kind for one in verify(place, [record], now=0).problems] == ["missing"]
    assert back_up(shop, place).images.sent_chunks == 1
    assert verify(place, place.records(), now=0).problems == ()


def test_verifying_compares_the_rows_and_the_images_of_the_database(small: Shop, tmp_path: Path) -> None:
    publish(small, tmp_path, 1)
    place = BackupPlace(MemoryStore())
    record = back_up(small, place).record
    tables = tuple(replace(table, digest="0" * 64) if table.table == "image" else table for table in record.tables)

    found = verify(place, [replace(record, tables=tables, manifests=())], now=0).problems

    assert [one.what for one in found] == [
        "table image has other rows",
        "its images need other manifests than the record names",
    ]


def test_a_damaged_record_is_named_and_never_taken_for_a_backup(small: Shop) -> None:
    place = BackupPlace(MemoryStore())
    name = object_name(back_up(small, place).record.name)
    place.store.put(name, place.store.get(name)[:-10])

    for use in (place.records, partial(prune, place, 1)):
        with pytest.raises(BackupFailed, match=rf"{name} is damaged"):
            use()


# old backups


@pytest.mark.more
def test_only_the_newest_backups_are_kept_and_what_they_need(shop: Shop, place: BackupPlace, tmp_path: Path) -> None:
    gone, stays = publish(shop, tmp_path, 1), publish(shop, tmp_path, 2)
    back_up(shop, place)
    withdraw(shop, gone)
    newest = back_up(shop, place).record

    pruned = prune(place, 1)
    assert (pruned.report.removed_chunks, place.names()) == (0, [newest.name])  # they are younger than the grace
    later = prune(place, 1, now=lambda: time.time() + GRACE_SECONDS + 60)

    assert later.report.removed_chunks > 0
    assert later.report.removed_manifests > 0
    assert check_whole(place, newest, tmp_path / "restored") == {stays}


def test_a_backup_refreshes_old_chunks_so_that_removing_its_elder_takes_none_of_them(small: Shop, tmp_path: Path) -> None:
    image = publish(small, tmp_path, 1)
    clock = [time.time()]
    place = BackupPlace(MemoryStore(now=lambda: clock[0]))
    create(small.catalog, small.store, place, small.work, now=lambda: clock[0])
    clock[0] += GRACE_SECONDS * 0.9
    at_work = [True]

    def old_one_goes() -> None:
        """Just before the new record is there."""
        at_work[0] = False
        begun = clock[0]
        clock[0] += GRACE_SECONDS * 0.1 + 60
        place.remove(place.names()[0])
        prune(place, 1, now=lambda: clock[0])
        clock[0] = begun

    def at_the_record(operation: Operation, _: int) -> bool:
        return operation == "put" and at_work[0] and writes_record()

    def writes_record() -> bool:
        return sum(1 for _ in place.store.list("manifests")) == 3  # the image's, and those of two databases

    seen = BackupPlace(at_call(place.store, at_the_record, old_one_goes))
    record = create(small.catalog, small.store, seen, small.work, now=lambda: clock[0]).record

    assert not at_work[0]
    assert check_whole(place, record, tmp_path / "restored") == {image}


# carried along


LATER_BACK = (
    *(f"DROP TABLE {table}" for table in ("login_code", "console_session", "host", "host_key", "host_contact", "host_order")),
    "ALTER TABLE job DROP COLUMN reused",
    "ALTER TABLE job DROP COLUMN sent",
    "DROP INDEX ix_image_deprecation_time",
    *(f"ALTER TABLE image DROP COLUMN {column}" for column in ("labels", "successor", "deprecation_time")),
)
SIGNATURES_BACK = ("DROP TABLE nonce", "DROP TABLE key_use", "ALTER TABLE key DROP COLUMN expires")
NAMES_BACK = (
    "DROP INDEX uq_image_bytes_live",
    "DROP INDEX ix_image_bytes_project_until",
    "ALTER TABLE image_bytes RENAME TO content",
    "ALTER TABLE content RENAME COLUMN target_state TO wanted",
    "CREATE UNIQUE INDEX uq_content_live ON content (image) WHERE until = 9223372036854775807",
    "CREATE INDEX ix_content_project_until ON content (project, until)",
    "ALTER TABLE quota RENAME COLUMN max_bytes TO most",
    "ALTER TABLE key RENAME COLUMN encrypted TO sealed",
)
"""What undoes the steps of the schema from 0006 on."""


def test_a_backup_of_an_older_schema_is_brought_up_to_date(small: Shop, tmp_path: Path) -> None:
    image = publish(small, tmp_path, 1)
    place = BackupPlace(MemoryStore())
    record = back_up(small, place).record
    path = tmp_path / "older.sqlite"
    write_database_file(place.store, record, path)
    with opened(path) as database, database.write() as connection:
        for statement in (*LATER_BACK, *SIGNATURES_BACK, *NAMES_BACK, "UPDATE alembic_version SET version_num = '0005'"):
            connection.execute(text(statement))
    with DiskWriter(place.store, path.stat().st_size) as writer:
        write_file(writer, path)
        older = replace(record, schema="0005", database=writer.finish({}).digest)
    assert verify(place, [older], now=0).problems == ()

    restored, settings = restored_to(place, older, tmp_path / "restored")

    assert restored.findings == ()
    catalog = open_catalog(settings)
    assert [found.id for found in catalog.now(wait=True).base_images()] == [image]
    catalog.database.close()


def test_a_backup_of_a_newer_schema_is_refused(small: Shop, tmp_path: Path) -> None:
    place = BackupPlace(MemoryStore())
    newer = replace(back_up(small, place).record, schema="9999")
    with pytest.raises(SetupError, match="restore it with the newer phimage"):
        restored_to(place, newer, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_newest_backup_and_its_verification_are_noted_for_the_metrics(catalog: Catalog) -> None:
    def times() -> backups.BackupTimes:
        with catalog.database.read() as connection:
            return backups.times(connection)

    assert times() == backups.BackupTimes(0, 0)
    assert not backups.record_verified(catalog.database, "here", 5)
    backups.record_created(catalog.database, "here", "a", catalog.head, 10)
    backups.record_created(catalog.database, "there", "b", catalog.head, 20)
    assert backups.record_verified(catalog.database, "here", 30)
    backups.record_created(catalog.database, "here", "c", catalog.head, 40)
    assert times() == backups.BackupTimes(40, 30)


def _address(shop: Shop) -> str:
    found: str = shop.catalog.database.engine.url.render_as_string(hide_password=False)
    return found


def _chunk_of(shop: Shop, id: object) -> str:
    manifest = load_manifest(shop.store, shop.content(id).manifest)  # type: ignore[arg-type]
    return chunk_name(list(manifest.stored())[-1][1])


def _is(wanted: int, _: Operation, number: int) -> bool:
    return number == wanted


def _end(*_: object) -> None:
    raise Killed
