"""Putting phimage together: the only place that makes real objects out of settings."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from phimage import __version__, ownership
from phimage.actions import registry
from phimage.actions.authorizers import CatalogDownloadAuthorizer, CatalogUploadAuthorizer
from phimage.actions.service import ListSettings, Service
from phimage.catalog import backups, jobs, schema
from phimage.catalog.accounts import NewKey, add_account, add_key, any_account, any_key, tenant
from phimage.catalog.address import check_sqlite_file, database_url
from phimage.catalog.engine import Database, open_database
from phimage.catalog.key_encryption import KeyEncryption, make_master_key, read_master_key
from phimage.catalog.rates import exchange
from phimage.catalog.revisions import Author
from phimage.catalog.views import Catalog, View
from phimage.chunks.decorators import Measures as StoreMeasures
from phimage.chunks.decorators import measured
from phimage.chunks.errors import StoreFailure
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.delivery.app import Delivery
from phimage.delivery.packs import Packs
from phimage.errors import ServiceUnavailable, SetupError
from phimage.formats import qemu
from phimage.formats.limits import Limits as DiskLimits
from phimage.gateway.app import App, PeriodicTask, new_request_id
from phimage.gateway.dispatch import Dispatcher
from phimage.gateway.freshness import STALE_SECONDS, Freshness, Source
from phimage.gateway.openapi import document
from phimage.gateway.origin import Origin
from phimage.gateway.page import for_networks, once, readiness
from phimage.gateway.rate import RateLimit
from phimage.gateway.traffic import Traffic
from phimage.metrics.family import TEXT
from phimage.metrics.measures import Measures, of_publisher
from phimage.metrics.shares import Place, Shares
from phimage.model.account import Account
from phimage.model.ids import AccountId
from phimage.publishing.original import IN_PLACE
from phimage.publishing.pipeline import Pipeline
from phimage.publishing.worker import Pace, Worker
from phimage.settings import Settings
from phimage.sources.fetch import Fetcher
from phimage.sources.judge import Limits as OriginalLimits
from phimage.sources.policy import read_policy
from phimage.sources.web import Web
from phimage.uploads.app import Uploads
from phimage.waiting import Patience

OPERATOR = AccountId("operator")
"""The account that a new installation starts with."""
FIRST_REVISION = 1
"""The revision of the first start."""
STORE_WATCH_SECONDS = 10.0
"""How often a server looks whether the store answers."""
STORE_PATIENCE_SECONDS = 5.0
TELL_SECONDS = 1.0
"""How often a process leaves its measures for the others."""


class Prepared(Struct, frozen=True):
    """What `prepare` found or made."""

    database: str
    new_key: NewKey | None  # the operator's first key, on the first start only
    unchanged: bool = False  # a later start, and nothing was changed since the first


def prepare(settings: Settings) -> Prepared:
    """Make what is missing of an installation: folder, schema, master key, operator account. Safe to repeat after a crash.

    Raises SetupError when something is there that does not fit, and StoreFailure when the store does not answer a first start.
    """
    _refuse_half_restored(settings)
    data = settings.data_folder
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        next(data.iterdir(), None)  # one that is there may be unreadable
    except FileExistsError:
        raise SetupError(f"the data folder {data} is a file: choose another with --data-dir") from None
    except OSError as error:
        raise SetupError(f"the data folder {data} cannot be used: {error.strerror}") from None
    url = database_url(settings.database, data)
    if url.get_backend_name() == "sqlite":
        check_sqlite_file(Path(url.database or ""), must_exist=False)
    database = open_database(url)
    store = open_store(settings.store_place)
    try:
        first = not _has_account(database)
        if first:
            _prepare_first_start(settings, database, store)
        schema.check(database)
        catalog = _open(settings, database)
        new_key = open_operator_account(catalog) if first else None
        ownership.require_owned_unless_away(database, store)  # not raising: a new key must be shown
        return Prepared(_shown(database), new_key, unchanged=not first and catalog.head == FIRST_REVISION)
    finally:
        store.close()
        database.close()


def _refuse_half_restored(settings: Settings) -> None:
    try:
        half_restored = settings.restore_marker.exists()
    except OSError:  # an unreadable data folder: the next step names it
        return
    if half_restored:
        raise SetupError(
            f"{settings.data_folder} is half of a restored backup: run the same `phimage backup restore` again, which goes on"
        )


def _has_account(database: Database) -> bool:
    if database.is_missing or schema.version(database) is None:
        return False
    with database.read() as connection:
        return any_account(connection)


def _prepare_first_start(settings: Settings, database: Database, store: Store) -> None:
    """Make the schema and then the master key, unless a key or a store shows that the database is not new but lost.

    Key and store are looked at before the database: another process may be making its first start here, in which each comes
    after the schema or the account that it belongs to.
    """
    had_key, used = settings.master_key_file.exists(), ownership.is_used(store)
    lost = f"{_shown(database)} is empty, so this is no first start: put the database back from a backup"
    if had_key and (database.is_missing or schema.version(database) is None):
        key = settings.master_key_file
        raise SetupError(f"there is a master key, {key}, but {lost}; for a new installation move the key away")
    if used and not _has_account(database):
        raise SetupError(f"the store, {store.describe()}, is in use, but {lost}; for a new installation name another store")
    schema.make_or_check(database)
    with database.read() as connection:
        needs_key = not any_account(connection)
    if needs_key:
        _make_master_key(settings.master_key_file)


def _make_master_key(path: Path) -> None:
    try:
        make_master_key(path, secrets.token_bytes)
    except FileExistsError:
        pass  # a start that was cut off, or another process that was as quick; its key is as good
    except OSError as error:
        raise SetupError(f"the master key {path} cannot be made: {error.strerror}") from None


def _shown(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=True)


def _open(settings: Settings, database: Database) -> Catalog:
    catalog = Catalog(database, KeyEncryption(read_master_key(settings.master_key_file), secrets.token_bytes))
    with database.read() as connection:
        sample = any_key(connection)
    if sample is not None:
        catalog.key_encryption.open(sample.id, sample.sealed)  # tells at once that the master key is another installation's
    return catalog


def open_catalog(settings: Settings, patience: Patience | None = None) -> Catalog:
    """The catalogue of a prepared installation. Raises SetupError when there is none, or it is not this master key's."""
    database = open_existing(settings, patience)
    try:
        schema.check(database)
        return _open(settings, database)
    except BaseException:
        database.close()
        raise


def open_existing(settings: Settings, patience: Patience | None = None) -> Database:
    """The database of an installation. Raises SetupError when there is none."""
    _refuse_half_restored(settings)
    folder = settings.data_folder
    url = database_url(settings.database, folder)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        try:
            is_there = file.exists()
        except OSError as error:
            raise SetupError(f"{file} cannot be read: {error.strerror}") from None
        if not is_there:
            place = file if settings.database else folder
            raise SetupError(
                f"there is no installation in {place}: name its folder with --data-dir, or run `phimage serve` once"
            )
        check_sqlite_file(file, must_exist=True)
    return open_database(url, patience)


def command_author(action: str) -> Author:
    """The author of what a command changes in the database itself, not through the gateway."""
    return Author(actor="command line", address="local", request_id="", action=action, time=time.time())


def open_operator_account(catalog: Catalog) -> NewKey | None:
    """Open the operator account, with its first key. None if another process was quicker."""
    account = Account(id=OPERATOR, operator=True, company="", email="", zones=(), networks=(), created=int(time.time()))
    with catalog.change(command_author("FirstStart")) as change:
        if any_account(change.connection):
            return None
        user, _ = add_account(change, account, secrets.token_bytes)
        return add_key(change, user, catalog.key_encryption, secrets.token_bytes)


def recover_operator_key(settings: Settings, patience: Patience | None = None) -> NewKey:
    """One more key for the operator account, for who lost the first: whoever can read the master key may have it."""
    catalog = open_catalog(settings, patience)
    try:
        with catalog.change(command_author("RecoverOperatorKey")) as change:
            found = tenant(change.connection, OPERATOR)
            if found is None:
                raise SetupError("there is no operator account yet: run `phimage serve` once")
            main = next(user for user in found.users.values() if user.main)
            return add_key(change, main, catalog.key_encryption, secrets.token_bytes)
    finally:
        catalog.database.close()


def build_app(
    settings: Settings,
    started: Callable[[], object],
    stopping: Callable[[], bool] = lambda: False,
    shares: Shares | None = None,
    propagation_seconds: float = STALE_SECONDS,
) -> App[View]:
    """The HTTP application of a prepared installation. `started` is called when it begins to answer, `stopping` says whether
    it is about to end. In `shares` the workers of one server find each other's measures. The end of a job is reported
    `propagation_seconds` after this server learned of it, when every server knows; 0 where there is only this one."""
    configure_log()
    learn_records()
    catalog = open_catalog(settings)
    store_measures: StoreMeasures = {}
    store = measured(ownership.owned(catalog.database, open_store(settings.store_place)), store_measures)
    service = Service(
        catalog=catalog,
        store=store,
        max_original=settings.max_original_gb << 30,
        reserve=settings.min_free_mb << 20,
        public_url=settings.public_url.rstrip("/"),
        lists=ListSettings(settings.require_zone, settings.default_limit, settings.max_limit),
        propagation_seconds=propagation_seconds,
    )
    rate_limit = RateLimit(settings.rate, settings.burst) if settings.rate else None
    process = secrets.token_hex(8)

    def exchange_rates() -> None:
        assert rate_limit is not None
        gone = rate_limit.gone(time.monotonic())
        reports = exchange(catalog.database, process, rate_limit.used(), time.time(), gone)
        rate_limit.learn(reports, time.monotonic())

    def unfinished() -> int:
        with catalog.database.read() as connection:
            return jobs.unfinished(connection)

    def backup_times() -> backups.BackupTimes:
        with catalog.database.read() as connection:
            return backups.times(connection)

    actions = registry(service.lists)
    dispatcher = Dispatcher(actions, catalog, service, rate_limit, explain_signatures=settings.explain_signatures)

    def stopped() -> None:
        uploads.close()
        downloads.close()
        database.close()

    origin = Origin(settings.trusted_proxies)
    uploads = Uploads(store, CatalogUploadAuthorizer(service), origin.address, new_request_id)
    packs = open_packs(settings, store)
    downloads = Delivery(
        store, CatalogDownloadAuthorizer(service), origin.address, new_request_id, packs, at_once=settings.max_downloads
    )
    database = catalog.database
    watch = Freshness(
        Source(
            "database",
            refresh=catalog.refresh,
            lose=database.circuit.open,
            lost=lambda: database.circuit.is_open,
            cut=database.cut,
            ends_when_cut=True,
        )
    )
    store_watch = Freshness(Source("store", lambda: _look_for(store)), STORE_WATCH_SECONDS, STORE_PATIENCE_SECONDS)
    traffic = Traffic()
    measures = Measures(traffic, catalog, store_measures, watch.age, unfinished, backup_times, shares or Shares(1))
    checks = {
        "stopping": lambda: "the server is about to end" if stopping() else "",
        "database": lambda: watch.reason,
        "store": lambda: store_watch.reason,
    }
    pages = {
        "/openapi.json": once(lambda: document(actions, __version__)),
        "/readyz": readiness(checks),
        "/metrics": for_networks(settings.metrics_networks, TEXT, measures.text),
    }
    periodic_tasks = []
    if settings.workers > 1:
        periodic_tasks.append(PeriodicTask(TELL_SECONDS, measures.tell))
    if rate_limit is not None and (settings.workers > 1 or settings.database):
        periodic_tasks.append(PeriodicTask(0.25, exchange_rates))
    app = App(
        dispatcher,
        watch,
        started,
        stopped,
        origin,
        pages,
        stopping,
        mounts={"/images/": downloads, "/uploads/": uploads},
        watches=(store_watch,),
        periodic_tasks=periodic_tasks,
        traffic=traffic,
        log_requests=settings.log_requests,
    )
    catalog.on_new_revision(app.notify_revision)
    return app


def _look_for(store: Store) -> None:
    """Raises ServiceUnavailable when the store does not answer."""
    try:
        store.find("health")
    except StoreFailure as failure:
        raise ServiceUnavailable(detail=str(failure)) from failure


def run_publisher(settings: Settings, stop: threading.Event, place: Place | None = None) -> None:
    """Publish in this process until `stop`, and leave its measures in a place. Raises SetupError when something is missing that
    publishing needs."""
    configure_log()
    learn_records()
    qemu.program()
    catalog = open_catalog(settings)
    try:
        store_measures: StoreMeasures = {}
        plain = open_store(settings.store_place)
        ownership.require_owned_unless_away(catalog.database, plain)
        store = measured(ownership.owned(catalog.database, plain), store_measures)
        pipeline = open_pipeline(settings, store)
        owner = f"{socket.gethostname()}-{os.getpid()}"
        worker = Worker(catalog, store, pipeline, owner, stop, Pace(lease=settings.lease_seconds))

        def tell(place: Place) -> None:
            while True:
                place.write(of_publisher(worker.outcomes, catalog, store_measures))
                if stop.wait(TELL_SECONDS):
                    return

        if place is not None:
            threading.Thread(target=tell, args=(place,), name="measures", daemon=True).start()
        worker.run()
    finally:
        catalog.database.close()


@contextmanager
def opened_store(settings: Settings, patience: Patience | None = None) -> Iterator[tuple[Catalog, Store]]:
    """The catalogue and the store of a prepared installation, for commands beside the server.

    Raises SetupError, also for a store of another installation. With `patience` both are waited for; raises Unreachable or
    Locked when it ends.
    """
    with opened_parts(settings, patience) as (catalog, store):
        ownership.require_owned(catalog.database, store)
        yield catalog, store


@contextmanager
def opened_parts(settings: Settings, patience: Patience | None = None) -> Iterator[tuple[Catalog, Store]]:
    """The same, whether or not the store belongs to the installation."""
    catalog = open_catalog(settings, patience)
    try:
        store = open_store(settings.store_place, patience=patience)
        if patience is not None:
            store.find("health")  # wait for it here: a listing that breaks cannot be gone on with
        yield catalog, store
    finally:
        catalog.database.close()


def open_packs(settings: Settings, store: Store) -> Packs:
    """The packs of this machine."""
    return Packs(store, settings.packs_folder, settings.zstd_cache_mb << 20)


def open_pipeline(settings: Settings, store: Store) -> Pipeline:
    """What makes disks of originals. Raises SetupError."""
    try:
        settings.work_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the work folder {settings.work_folder} cannot be made: {error.strerror}") from None
    reserve = settings.min_free_mb << 20
    web = Web(read_policy(settings.fetch_networks, settings.fetch_ports), agent=f"phimage/{__version__}")
    originals = OriginalLimits(max_size=settings.max_original_gb << 30, reserve=reserve)
    fetcher = Fetcher(web, originals, IN_PLACE)
    limits = DiskLimits(virtual_size=settings.max_disk_gb << 30)
    return Pipeline(store, fetcher, settings.work_folder, limits, reserve)


def learn_records() -> None:
    """Let msgspec learn every record's fields before there are threads: several that begin with one kill the process."""
    records: list[type[Struct]] = [Struct]
    for record in records:
        records += record.__subclasses__()
        with suppress(TypeError, NameError):  # it holds what is never decoded, such as functions
            msgspec.json.Decoder(record)


def configure_log() -> None:
    """Log events as lines of JSON on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
