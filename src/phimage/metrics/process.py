"""The metrics of one process, a worker of a server or a publisher, collected from the objects that count."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from phimage.catalog.backups import BackupTimes
from phimage.catalog.engine import Database
from phimage.catalog.views import Catalog
from phimage.chunks.decorators import StoreMetrics
from phimage.errors import ServiceUnavailable
from phimage.formats.walls import WALLS, SandboxWalls
from phimage.gateway.cache import GatewayCache
from phimage.http.counters import BOUNDS, ConnectionCounters, RequestCounters
from phimage.metrics.family import Family, Sample, counter, gauge, merge
from phimage.metrics.shared import WorkerSlot

_PAGE_BYTES = resource.getpagesize()
_families = msgspec.msgpack.Decoder(list[Family])


class EdgeMetrics(Struct, frozen=True):
    """The connections of a worker, and when the server's certificate expires, in Unix seconds; None without TLS."""

    connections: ConnectionCounters = field(default_factory=ConnectionCounters)
    certificate_expires: float | None = None


class WorkerMetrics:
    """The metrics of a worker, which it shares with the others, and those of all together."""

    def __init__(
        self,
        counters: RequestCounters,
        catalog: Catalog,
        cache: GatewayCache,
        store: StoreMetrics,
        age: Callable[[], float],
        unfinished_jobs: Callable[[], int],
        backup_times: Callable[[], BackupTimes],
        slot: WorkerSlot,
        edge: EdgeMetrics,
    ) -> None:
        self._counters = counters
        self._catalog = catalog
        self._cache = cache
        self._store = store
        self._age = age
        self._unfinished_jobs = unfinished_jobs
        self._backup_times = backup_times
        self._slot = slot
        self._edge = edge

    def share(self) -> None:
        """Write this worker's metrics, as of now, for the other workers."""
        self._slot.write(msgspec.msgpack.encode(self._own()))

    def text(self) -> bytes:
        """The metrics of all workers and of the publishers beside them, in the text format of Prometheus.

        Those of jobs and backups are read from the database, and left out while it is away.
        """
        from phimage.metrics.prometheus import text  # imported here: slow to import, and rarely needed

        slots = self._slot.read_others()
        others = [_families.decode(data) for data in slots.workers]
        publishers = [_families.decode(data) for data in slots.publishers]
        ended = [_families.decode(slots.ended)] if slots.ended else []
        counts = [
            gauge("phimage_workers", "Workers whose metrics these are", 1 + len(others)),
            gauge("phimage_publishers", "Publishers beside them whose metrics these are", len(publishers)),
        ]
        return text([*merge([self._own(), *others, *publishers, *ended]), *counts, *self._jobs(), *self._backups()])

    def _own(self) -> list[Family]:
        database = self._catalog.database
        parts = _requests(self._counters), self._caches(), _database(database), self._knowledge()
        return list(chain(*parts, _store(self._store), _edge(self._edge), _process()))

    def _caches(self) -> Iterable[Family]:
        caches = {"facts": self._catalog.facts, "answers": self._cache.responses, "requests": self._cache.requests}
        hits = ((name, each.hits) for name, each in caches.items())
        yield _by("phimage_memory_hits", "Lookups that a cache answered", "memory", hits)
        misses = ((name, each.misses) for name, each in caches.items())
        yield _by("phimage_memory_misses", "Lookups that found nothing, or a stale entry", "memory", misses)

    def _knowledge(self) -> Iterable[Family]:
        away = float(self._catalog.database.circuit.is_open)
        yield gauge("phimage_database_away", "1 while the database counts as away", away)
        yield gauge(
            "phimage_knowledge_age_seconds",
            "Seconds since a worker last knew the newest revision; the largest",
            self._age(),
        )
        yield gauge("phimage_revision", "The newest revision that a worker knows", self._catalog.head)

    def _jobs(self) -> Iterable[Family]:
        try:
            yield gauge("phimage_jobs_unfinished", "Jobs that have not ended", self._unfinished_jobs())
        except ServiceUnavailable:
            return

    def _backups(self) -> Iterable[Family]:
        try:
            times = self._backup_times()
        except ServiceUnavailable:
            return
        yield gauge(
            "phimage_backup_timestamp_seconds", "Time of the newest backup in Unix seconds; 0 if there is none", times.finished
        )
        yield gauge(
            "phimage_backup_verified_timestamp_seconds",
            "Time of the last verification or drill in Unix seconds; 0 if there was none",
            times.verified,
        )


def publisher_metrics(jobs: Mapping[str, int], catalog: Catalog, store: StoreMetrics, walls: SandboxWalls) -> bytes:
    """The metrics of a publisher, for the workers beside it. `jobs` counts the jobs that ended, by outcome."""
    ended = _by("phimage_jobs_ended", "Jobs that publishers ended or gave back", "outcome", jobs.items())
    return msgspec.msgpack.encode([ended, _walls(walls), *_database(catalog.database), *_store(store), *_process()])


def sandbox_metrics(walls: SandboxWalls) -> bytes:
    """The metrics of a publisher that does not start."""
    return msgspec.msgpack.encode([_walls(walls)])


def _walls(walls: SandboxWalls) -> Family:
    """A gauge that is 1 for what is missing: of the gauges of several publishers the largest counts."""
    samples = tuple(Sample((wall,), float(wall in walls.missing)) for wall in WALLS)
    return Family("phimage_sandbox_wall_missing", "gauge", "1 if a publisher's sandbox lacks the wall", ("wall",), samples)


def add_ended(ended: bytes, data: bytes) -> bytes:
    """The counters and histograms of a process that has ended, added to those of processes that ended before it."""
    families = [family for family in _families.decode(data) if family.kind != "gauge"]
    return msgspec.msgpack.encode(merge([_families.decode(ended) if ended else [], families]))


def _edge(edge: EdgeMetrics) -> Iterable[Family]:
    yield gauge("phimage_connections", "Open connections of a worker; the largest", edge.connections.open)
    ended = edge.connections.ended.items()
    yield _by("phimage_connections_ended", "Connections that the server ended, by the limit they reached", "limit", ended)
    if edge.certificate_expires is not None:
        help = "When the server's certificate expires, in Unix seconds"
        yield gauge("phimage_certificate_expires_timestamp_seconds", help, edge.certificate_expires)


def _requests(counters: RequestCounters) -> Iterable[Family]:
    requests = tuple(Sample((action, str(code)), count) for (action, code), count in list(counters.requests.items()))
    yield Family(
        "phimage_requests",
        "counter",
        "Answered requests; those without a known Action count as none",
        ("action", "ret_code"),
        requests,
    )
    latencies = tuple(
        Sample((action,), latency.seconds, tuple(latency.buckets)) for action, latency in list(counters.latencies.items())
    )
    yield Family(
        "phimage_request_seconds",
        "histogram",
        "Seconds from the header of a request to its response",
        ("action",),
        latencies,
        BOUNDS,
    )
    yield counter("phimage_received_bytes", "Bytes of queries and bodies", counters.bytes_in)
    yield counter("phimage_sent_bytes", "Bytes of the bodies of responses", counters.bytes_out)


def _database(database: Database) -> Iterable[Family]:
    calls = list(database.calls.items())
    counts, failures = ((name, one.count) for name, one in calls), ((name, one.failures) for name, one in calls)
    yield _by("phimage_database_calls", "Transactions and lookups", "kind", counts)
    yield _by("phimage_database_failures", "Failed transactions and lookups", "kind", failures)
    seconds = ((name, one.seconds) for name, one in calls)
    yield _by("phimage_database_seconds", "Seconds of transactions and lookups", "kind", seconds)


def _store(metrics: StoreMetrics) -> Iterable[Family]:
    def by_operation(name: str, help: str, value: Callable[[Any], float]) -> Family:
        return _by(name, help, "operation", ((operation, value(one)) for operation, one in calls))

    calls = list(metrics.items())
    yield by_operation("phimage_store_calls", "Calls of the store", lambda one: one.calls)
    yield by_operation("phimage_store_failures", "Failed calls of the store", lambda one: one.failures)
    yield by_operation("phimage_store_seconds", "Seconds of calls of the store", lambda one: one.seconds)
    yield by_operation("phimage_store_sent_bytes", "Bytes written to the store", lambda one: one.bytes_sent)
    yield by_operation("phimage_store_received_bytes", "Bytes read from the store", lambda one: one.bytes_received)


def _process() -> Iterable[Family]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    yield counter("phimage_cpu_seconds", "Seconds of processor time", used.ru_utime + used.ru_stime)
    yield gauge("phimage_resident_bytes", "Resident memory of a process; the largest", resident)


def _by(name: str, help: str, label: str, values: Iterable[tuple[str, float]]) -> Family:
    return Family(name, "counter", help, (label,), tuple(Sample((key,), value) for key, value in values))
