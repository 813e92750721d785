"""Builds the HTTP application and the publisher of an installation from its settings."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from phimage import __version__, ownership
from phimage.actions import registry
from phimage.actions.authorizers import CatalogDownloadAuthorizer, CatalogUploadAuthorizer
from phimage.actions.heartbeats import FLUSH_SECONDS
from phimage.actions.service import TICKETS, ListSettings, Service
from phimage.catalog import backups, jobs
from phimage.catalog.accounts import exchange_rates, report_use
from phimage.catalog.views import Catalog, View
from phimage.chunks.decorators import StoreMetrics, measured
from phimage.chunks.errors import StoreFailure
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.delivery.app import Delivery
from phimage.delivery.stream import DownloadLimits
from phimage.errors import ServiceUnavailable, SetupError
from phimage.event_log import log
from phimage.formats import qemu
from phimage.formats.examine import SecondOpinion
from phimage.formats.limits import DiskLimits
from phimage.formats.walls import SandboxWalls, try_walls
from phimage.gateway.app import App
from phimage.gateway.dispatch import Dispatcher
from phimage.gateway.openapi import document
from phimage.gateway.rate import RateLimit
from phimage.http.asgi import Application, LateMount, request_ids
from phimage.http.body import BodyLimits
from phimage.http.counters import RequestCounters
from phimage.http.freshness import STALE_SECONDS, AlwaysFresh, Freshness, WatchedSource
from phimage.http.lifespan import PeriodicTask
from phimage.http.min_rate import MinRate
from phimage.http.pages import for_networks, made_once, readiness
from phimage.http.proxies import TrustedProxies
from phimage.http.signature_limit import SignatureLimit
from phimage.installation import open_catalog
from phimage.maintenance.measuring import keep_measuring
from phimage.metrics.family import TEXT
from phimage.metrics.process import EdgeMetrics, WorkerMetrics, publisher_metrics, sandbox_metrics
from phimage.metrics.shared import MetricsSlot, SharedMetrics, WorkerSlot
from phimage.model.ids import PublicKey, RandomBytes
from phimage.publishing.original import IN_PLACE
from phimage.publishing.pipeline import Pipeline
from phimage.publishing.worker import Pace, Worker
from phimage.settings import Settings
from phimage.sources.address_policy import PUBLIC_INTERNET, AddressPolicy, read_address_policy
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.sniff import FetchLimits
from phimage.uploads.app import Uploads, upload_limits

if TYPE_CHECKING:
    from phimage.console.session import Sessions

STORE_WATCH_SECONDS = 10.0
"""Seconds between two probes of the store."""
STORE_PATIENCE_SECONDS = 5.0
KEY_USE_SECONDS = 60.0
"""Seconds between two reports of the keys that were used."""
MAX_KEYS_REPORTED = 500
BODY_PAUSES = 30
"""The longest time of a body, as a multiple of its longest pause."""
METRICS_SECONDS = 1.0
"""Seconds between two writes of a process's metrics for the other processes."""


class Foundation(Struct, frozen=True):
    """What an application is built on beside its settings.

    `now` dates what is stored and shown; the times of signatures are always the real ones. Request ids are random by default.
    `tickets` names the key that tickets are made with. `is_alone`: no other process writes to the database, and the store is
    never away. Its maker calls `prime_decoders`.
    """

    catalog: Catalog
    store: Store
    now: Callable[[], float] = time.time
    random: RandomBytes = secrets.token_bytes
    request_ids: Iterator[str] | None = None
    tickets: str = TICKETS
    is_alone: bool = False


def build_app(
    settings: Settings,
    started: Callable[[], object],
    stopping: Callable[[], bool] = lambda: False,
    slot: WorkerSlot | None = None,
    edge: EdgeMetrics | None = None,
    propagation_seconds: float = STALE_SECONDS,
    patience_seconds: float = STALE_SECONDS,
    foundation: Foundation | None = None,
    sessions: Sessions | None = None,
) -> App[View]:
    """The HTTP application of a prepared installation.

    Calls `started` when it accepts requests; `stopping` returns whether the server shuts down. The workers of one server
    exchange metrics through their slots; `edge` is what the metrics say of connections. The end of a job is reported
    `propagation_seconds` after this server learned of it, when all servers have read it; 0 if there is only one server. A
    database counts as away after `patience_seconds` without a response. `foundation` is that of the settings by default.
    `sessions` are those of the console.
    """
    if foundation is None:  # else the caller has done it, for all that it builds
        prime_decoders()
    base = foundation or Foundation(open_catalog(settings), open_store(settings.store_place))
    catalog, now = base.catalog, base.now
    store_metrics: StoreMetrics = {}
    store = measured(ownership.owned(catalog.database, base.store), store_metrics)
    service = Service(
        catalog=catalog,
        store=store,
        max_original=settings.max_original_gb << 30,
        min_free=settings.min_free_mb << 20,
        public_url=settings.public_url.rstrip("/"),
        lists=ListSettings(settings.require_zone, settings.default_limit, settings.max_limit),
        propagation_seconds=propagation_seconds,
        lease_seconds=settings.lease_seconds,
        random=base.random,
        now=now,
        tickets=base.tickets,
    )
    rate_limit = RateLimit(settings.rate, settings.burst) if settings.rate else None
    process = secrets.token_hex(8)

    def exchange_rate_uses() -> None:
        assert rate_limit is not None
        gone = rate_limit.gone(time.monotonic())
        reports = exchange_rates(catalog.database, process, rate_limit.used(), time.time(), gone)
        rate_limit.learn(reports, time.monotonic())

    keys_used: set[PublicKey] = set()

    def report_keys_used() -> None:
        while keys_used:
            some = list(keys_used.copy())[:MAX_KEYS_REPORTED]  # a copy, because the event loop adds to it
            report_use(catalog.database, some, datetime.fromtimestamp(now(), UTC).date().isoformat())
            keys_used.difference_update(some)

    def unfinished() -> int:
        with catalog.database.read() as connection:
            return jobs.unfinished(connection)

    def backup_times() -> backups.BackupTimes:
        with catalog.database.read() as connection:
            return backups.times(connection)

    actions = registry(service.lists)
    dispatcher = Dispatcher(
        actions,
        catalog,
        service,
        rate_limit,
        explain_signatures=settings.explain_signatures,
        allow_legacy_operator_signatures=settings.allow_legacy_operator_signatures,
        clock=now,
        used=keys_used.add,
    )

    def stopped() -> None:
        metrics.share()
        uploads.close()
        downloads.close()
        with suppress(ServiceUnavailable):
            report_keys_used()
            service.heartbeats.flush(database)
        database.close()

    proxies = TrustedProxies(settings.trusted_proxies)
    signature_limit = SignatureLimit(proxies)
    min_rate = MinRate(settings.min_transfer_kib << 10)
    new_ids = base.request_ids or request_ids()
    new_request_id = partial(next, new_ids)
    uploads = Uploads(
        store, CatalogUploadAuthorizer(service, now), proxies.client_address, new_request_id, upload_limits(min_rate)
    )
    downloads = Delivery(
        store,
        CatalogDownloadAuthorizer(service, now),
        proxies.client_address,
        new_request_id,
        DownloadLimits(concurrent=settings.max_downloads, min_rate=min_rate),
        signature_limit,
    )
    database = catalog.database
    freshness = AlwaysFresh if base.is_alone else Freshness
    watch = freshness(
        WatchedSource(
            "database",
            refresh=catalog.refresh,
            lose=database.circuit.open,
            lost=lambda: database.circuit.is_open,
            cut=database.cut,
        ),
        patience=patience_seconds,
    )
    store_watch = freshness(WatchedSource("store", lambda: _probe(store)), STORE_WATCH_SECONDS, STORE_PATIENCE_SECONDS)
    counters = RequestCounters()
    metrics = WorkerMetrics(
        counters,
        catalog,
        dispatcher.cache,
        store_metrics,
        watch.age,
        unfinished,
        backup_times,
        slot or SharedMetrics().claim(),
        edge or EdgeMetrics(),
    )
    checks: dict[str, Callable[[], str]] = {
        "stopping": lambda: "the server is shutting down" if stopping() else "",
        "database": lambda: watch.reason,
        "store": lambda: store_watch.reason,
    }

    def health() -> dict[str, str]:
        return {name: check() for name, check in checks.items()}

    pages = {
        "/openapi.json": made_once(lambda: document(actions, __version__)),
        "/readyz": readiness(checks),
        "/metrics": for_networks(settings.metrics_networks, TEXT, metrics.text),
    }
    heartbeats = PeriodicTask(FLUSH_SECONDS, lambda: service.heartbeats.flush(catalog.database))
    periodic_tasks = [heartbeats, PeriodicTask(KEY_USE_SECONDS, report_keys_used), PeriodicTask(METRICS_SECONDS, metrics.share)]
    if rate_limit is not None and (settings.workers > 1 or settings.database):
        periodic_tasks.append(PeriodicTask(0.25, exchange_rate_uses))
    body_limits = BodyLimits(settings.body_seconds, BODY_PAUSES * settings.body_seconds, settings.body_seconds)

    def build_console() -> Application:
        # docs/decisions.md#the-console-is-imported-at-its-first-request
        from phimage.console.app import build

        return build(
            app.answer,
            catalog,
            rate_limit,
            signature_limit,
            proxies,
            partial(next, request_ids()),  # docs/decisions.md#who-looks-at-a-world-changes-nothing-of-its-test
            body_limits,
            health=health,
            max_limit=settings.max_limit,
            now=now,
            sessions=sessions,
        )

    app = App(
        dispatcher,
        watch,
        proxies,
        pages,
        {"/images/": downloads, "/uploads/": uploads, "/console/": LateMount(build_console)},
        started=started,
        stopped=stopped,
        stopping=stopping,
        watches=(store_watch,),
        periodic_tasks=periodic_tasks,
        request_ids=new_ids,
        counters=counters,
        log_requests=settings.log_requests,
        signature_limit=signature_limit,
        body_limits=body_limits,
        max_body_bytes=settings.max_bodies_mb << 20,
        browser_path="/console/",
    )
    catalog.on_new_revision(app.notify_revision)
    return app


def _probe(store: Store) -> None:
    """Raises ServiceUnavailable if the store does not answer."""
    try:
        store.find("health")
    except StoreFailure as failure:
        raise ServiceUnavailable(detail=str(failure)) from failure


def run_publisher(settings: Settings, stop: threading.Event, slot: MetricsSlot | None = None) -> None:
    """Publish in this process until `stop` is set, and write its metrics to `slot`. Raises SetupError, for example without
    qemu-img or without the walls of its sandbox."""
    prime_decoders()
    qemu.program()
    walls = _checked_walls(settings, slot)
    catalog = open_catalog(settings)
    try:
        store_metrics: StoreMetrics = {}
        plain = open_store(settings.store_place)
        ownership.require_owned_unless_away(catalog.database, plain)
        store = measured(ownership.owned(catalog.database, plain), store_metrics)
        pipeline = open_pipeline(settings, store)
        owner = f"{socket.gethostname()}-{os.getpid()}"
        worker = Worker(catalog, store, pipeline, owner, stop, Pace(lease=settings.lease_seconds))

        def write_metrics(slot: MetricsSlot) -> None:
            while True:
                slot.write(publisher_metrics(worker.outcomes, catalog, store_metrics, walls))
                if stop.wait(METRICS_SECONDS):
                    return

        if slot is not None:
            threading.Thread(target=write_metrics, args=(slot,), name="metrics", daemon=True).start()
        measuring = threading.Thread(target=keep_measuring, args=(catalog, store, stop), name="statistics", daemon=True)
        measuring.start()
        worker.run()
    finally:
        catalog.database.close()


def _checked_walls(settings: Settings, slot: MetricsSlot | None) -> SandboxWalls:
    """Try the walls of the sandbox, log them and write their metric. Raises SetupError if one is missing and required."""
    walls = try_walls()
    report = log.warning if walls.missing else log.info
    report("sandbox.walls", mechanisms=walls.mechanisms, missing=walls.missing, required=settings.require_sandbox)
    if slot is not None:
        slot.write(sandbox_metrics(walls))
    if settings.require_sandbox:
        walls.require()
    return walls


def open_pipeline(settings: Settings, store: Store, *, second_opinion: SecondOpinion | bool = True) -> Pipeline:
    """The pipeline that turns original files into disks. Without `second_opinion` only for trusted ones. Raises SetupError."""
    try:
        settings.work_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the work folder {settings.work_folder} cannot be created: {error.strerror}") from None
    min_free = settings.min_free_mb << 20
    originals = FetchLimits(max_size=settings.max_original_gb << 30, min_free=min_free)

    def fetcher(policy: AddressPolicy) -> Fetcher:
        return Fetcher(HttpClient(policy, agent=f"phimage/{__version__}"), originals, IN_PLACE)

    return Pipeline(
        store,
        fetcher(read_address_policy(settings.fetch_networks, settings.fetch_ports)),
        settings.work_folder,
        DiskLimits(virtual_size=settings.max_disk_gb << 30),
        min_free,
        tenants_fetcher=fetcher(PUBLIC_INTERNET),
        require_walls=settings.require_sandbox,
        second_opinion=second_opinion,
    )


# docs/decisions.md#records-are-decoded-before-threads-start
def prime_decoders() -> None:
    """Make msgspec inspect every record before threads start: several that decode one for the first time crash the process."""
    records: list[type[Struct]] = [Struct]
    for record in records:
        records += record.__subclasses__()
        with suppress(TypeError, NameError):  # records that are never decoded may hold functions
            msgspec.json.Decoder(record)
