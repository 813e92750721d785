"""Builds the HTTP application and the publisher of an installation from its settings."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec import Struct

from phimage import __version__, ownership
from phimage.actions import registry
from phimage.actions.authorizers import CatalogDownloadAuthorizer, CatalogUploadAuthorizer
from phimage.actions.service import Service
from phimage.catalog import backups, jobs
from phimage.catalog.accounts import exchange_rates
from phimage.catalog.views import View
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
from phimage.installation import open_catalog
from phimage.metrics.family import TEXT
from phimage.metrics.measures import Measures, of_publisher
from phimage.metrics.shares import Place, Shares
from phimage.publishing.original import IN_PLACE
from phimage.publishing.pipeline import Pipeline
from phimage.publishing.worker import Pace, Worker
from phimage.settings import Settings
from phimage.sources.fetch import Fetcher
from phimage.sources.judge import Limits as OriginalLimits
from phimage.sources.policy import read_policy
from phimage.sources.web import Web
from phimage.uploads.app import Uploads

STORE_WATCH_SECONDS = 10.0
"""Seconds between two probes of the store."""
STORE_PATIENCE_SECONDS = 5.0
MEASURES_SECONDS = 1.0
"""Seconds between two writes of a process's measures for the other processes."""


def build_app(
    settings: Settings,
    started: Callable[[], object],
    stopping: Callable[[], bool] = lambda: False,
    shares: Shares | None = None,
    propagation_seconds: float = STALE_SECONDS,
) -> App[View]:
    """The HTTP application of a prepared installation.

    Calls `started` when it accepts requests; `stopping` returns whether the server shuts down. The workers of one server
    exchange measures through `shares`. The end of a job is reported `propagation_seconds` after this server learned of it,
    when all servers have read it; 0 if there is only one server.
    """
    prime_decoders()
    catalog = open_catalog(settings)
    store_measures: StoreMeasures = {}
    store = measured(ownership.owned(catalog.database, open_store(settings.store_place)), store_measures)
    service = Service(
        catalog=catalog,
        store=store,
        max_original=settings.max_original_gb << 30,
        reserve=settings.min_free_mb << 20,
        public_url=settings.public_url.rstrip("/"),
        require_zone=settings.require_zone,
        default_limit=settings.default_limit,
        max_limit=settings.max_limit,
        propagation_seconds=propagation_seconds,
    )
    rate_limit = RateLimit(settings.rate, settings.burst) if settings.rate else None
    process = secrets.token_hex(8)

    def exchange_rate_uses() -> None:
        assert rate_limit is not None
        gone = rate_limit.gone(time.monotonic())
        reports = exchange_rates(catalog.database, process, rate_limit.used(), time.time(), gone)
        rate_limit.learn(reports, time.monotonic())

    def unfinished() -> int:
        with catalog.database.read() as connection:
            return jobs.unfinished(connection)

    def backup_times() -> backups.BackupTimes:
        with catalog.database.read() as connection:
            return backups.times(connection)

    actions = registry(service)
    dispatcher = Dispatcher(actions, catalog, rate_limit, explain_signatures=settings.explain_signatures)

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
    store_watch = Freshness(Source("store", lambda: _probe(store)), STORE_WATCH_SECONDS, STORE_PATIENCE_SECONDS)
    traffic = Traffic()
    measures = Measures(traffic, catalog, store_measures, watch.age, unfinished, backup_times, shares or Shares(1))
    checks = {
        "stopping": lambda: "the server is shutting down" if stopping() else "",
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
        periodic_tasks.append(PeriodicTask(MEASURES_SECONDS, measures.tell))
    if rate_limit is not None and (settings.workers > 1 or settings.database):
        periodic_tasks.append(PeriodicTask(0.25, exchange_rate_uses))
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


def _probe(store: Store) -> None:
    """Raises ServiceUnavailable if the store does not answer."""
    try:
        store.find("health")
    except StoreFailure as failure:
        raise ServiceUnavailable(detail=str(failure)) from failure


def run_publisher(settings: Settings, stop: threading.Event, place: Place | None = None) -> None:
    """Publish in this process until `stop` is set, and write its measures to `place`. Raises SetupError, for example without
    qemu-img."""
    prime_decoders()
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

        def write_measures(place: Place) -> None:
            while True:
                place.write(of_publisher(worker.outcomes, catalog, store_measures))
                if stop.wait(MEASURES_SECONDS):
                    return

        if place is not None:
            threading.Thread(target=write_measures, args=(place,), name="measures", daemon=True).start()
        worker.run()
    finally:
        catalog.database.close()


def open_packs(settings: Settings, store: Store) -> Packs:
    """The zstd cache of this machine."""
    return Packs(store, settings.packs_folder, settings.zstd_cache_mb << 20)


def open_pipeline(settings: Settings, store: Store) -> Pipeline:
    """The pipeline that turns original files into disks. Raises SetupError."""
    try:
        settings.work_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the work folder {settings.work_folder} cannot be created: {error.strerror}") from None
    reserve = settings.min_free_mb << 20
    web = Web(read_policy(settings.fetch_networks, settings.fetch_ports), agent=f"phimage/{__version__}")
    originals = OriginalLimits(max_size=settings.max_original_gb << 30, reserve=reserve)
    fetcher = Fetcher(web, originals, IN_PLACE)
    limits = DiskLimits(virtual_size=settings.max_disk_gb << 30)
    return Pipeline(store, fetcher, settings.work_folder, limits, reserve)


def prime_decoders() -> None:
    """Make msgspec inspect every record before threads start: several that decode one for the first time crash the process."""
    records: list[type[Struct]] = [Struct]
    for record in records:
        records += record.__subclasses__()
        with suppress(TypeError, NameError):  # records that are never decoded may hold functions
            msgspec.json.Decoder(record)
