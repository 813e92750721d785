"""The measures of one process, a server's worker or a publisher, from the parts that count them."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path

import msgspec

from phimage.catalog.backups import BackupTimes
from phimage.catalog.engine import Database
from phimage.catalog.views import Catalog
from phimage.chunks.decorators import StoreMeasures
from phimage.errors import ServiceUnavailable
from phimage.gateway.traffic import BOUNDS, Traffic
from phimage.metrics.family import Family, Sample, counter, gauge, merge
from phimage.metrics.shares import Shares

_PAGE_BYTES = resource.getpagesize()
_families = msgspec.msgpack.Decoder(list[Family])


class Measures:
    """What a process tells the other workers of its server, and what it answers for all of them."""

    def __init__(
        self,
        traffic: Traffic,
        catalog: Catalog,
        store: StoreMeasures,
        age: Callable[[], float],
        unfinished_jobs: Callable[[], int],
        backup_times: Callable[[], BackupTimes],
        shares: Shares,
    ) -> None:
        self._traffic = traffic
        self._catalog = catalog
        self._store = store
        self._age = age
        self._unfinished_jobs = unfinished_jobs
        self._backup_times = backup_times
        self._shares = shares
        self._part = shares.take()

    def tell(self) -> None:
        """Let the other workers have this one's measures, as of now."""
        self._shares.write(self._part, msgspec.msgpack.encode(self._own()))

    def text(self) -> bytes:
        """The measures of all workers, and of the publishers beside them, for Prometheus. Those of jobs and backups are read
        from the database, and left out when that is away."""
        from phimage.metrics.prometheus import text  # its library takes its time to import, and most never ask

        others = [_families.decode(data) for data in self._shares.others(self._part)]
        publishers = [_families.decode(data) for data in self._shares.further()]
        told = [
            gauge("phimage_workers", "Workers whose measures these are", 1 + len(others)),
            gauge("phimage_publishers", "Publishers beside them whose measures these are", len(publishers)),
        ]
        return text([*merge([self._own(), *others, *publishers]), *told, *self._jobs(), *self._backups()])

    def _own(self) -> list[Family]:
        database = self._catalog.database
        parts = _traffic(self._traffic), _memories(self._catalog), _database(database), self._knowledge()
        return list(chain(*parts, _store(self._store), _process()))

    def _knowledge(self) -> Iterable[Family]:
        away = float(self._catalog.database.circuit.is_open)
        yield gauge("phimage_database_away", "1 while the database counts as away", away)
        yield gauge(
            "phimage_knowledge_age_seconds",
            "Seconds since a worker knew that there was no newer revision; the oldest",
            self._age(),
        )
        yield gauge("phimage_revision", "The newest revision that a worker knows", self._catalog.head)

    def _jobs(self) -> Iterable[Family]:
        try:
            yield gauge("phimage_jobs_unfinished", "Jobs that are still to be done", self._unfinished_jobs())
        except ServiceUnavailable:
            return

    def _backups(self) -> Iterable[Family]:
        try:
            times = self._backup_times()
        except ServiceUnavailable:
            return
        yield gauge("phimage_backup_timestamp_seconds", "When the newest backup was made; 0 for never", times.finished)
        yield gauge(
            "phimage_backup_verified_timestamp_seconds",
            "When a backup was last verified or drilled; 0 for never",
            times.verified,
        )


def of_publisher(jobs: Mapping[str, int], catalog: Catalog, store: StoreMeasures) -> bytes:
    """The measures of a publisher, for the workers beside it. `jobs` says how many ended in each way."""
    ended = _by("phimage_jobs_ended", "Jobs that publishers ended or let go", "outcome", jobs.items())
    return msgspec.msgpack.encode([ended, *_database(catalog.database), *_store(store), *_process()])


def _traffic(traffic: Traffic) -> Iterable[Family]:
    requests = tuple(Sample((action, str(code)), count) for (action, code), count in list(traffic.requests.items()))
    yield Family(
        "phimage_requests",
        "counter",
        "Answered requests; Action none is what named no known one",
        ("action", "ret_code"),
        requests,
    )
    latencies = tuple(
        Sample((action,), latency.seconds, tuple(latency.buckets)) for action, latency in list(traffic.latencies.items())
    )
    yield Family(
        "phimage_request_seconds", "histogram", "Seconds from a request's head to its answer", ("action",), latencies, BOUNDS
    )
    yield counter("phimage_received_bytes", "Bytes of queries and bodies", traffic.bytes_in)
    yield counter("phimage_sent_bytes", "Bytes of the bodies of answers", traffic.bytes_out)


def _database(database: Database) -> Iterable[Family]:
    found = list(database.calls.items())
    yield _by("phimage_database_calls", "Transactions and inquiries", "kind", ((name, one.count) for name, one in found))
    yield _by("phimage_database_failures", "Those that failed", "kind", ((name, one.failures) for name, one in found))
    yield _by("phimage_database_seconds", "Seconds inside them", "kind", ((name, one.seconds) for name, one in found))


def _memories(catalog: Catalog) -> Iterable[Family]:
    memories = {"facts": catalog.facts, "answers": catalog.answers, "requests": catalog.requests}
    yield _by(
        "phimage_memory_hits",
        "What was remembered when asked for",
        "memory",
        ((name, found.hits) for name, found in memories.items()),
    )
    yield _by(
        "phimage_memory_misses",
        "What was not remembered, or stale",
        "memory",
        ((name, found.misses) for name, found in memories.items()),
    )


def _store(measures: StoreMeasures) -> Iterable[Family]:
    found = list(measures.items())
    yield _by("phimage_store_calls", "Calls of the store of bytes", "operation", ((name, one.calls) for name, one in found))
    yield _by("phimage_store_failures", "Calls that failed", "operation", ((name, one.failures) for name, one in found))
    yield _by("phimage_store_seconds", "Seconds of calls", "operation", ((name, one.seconds) for name, one in found))
    yield _by("phimage_store_sent_bytes", "Bytes written", "operation", ((name, one.bytes_sent) for name, one in found))
    yield _by("phimage_store_received_bytes", "Bytes read", "operation", ((name, one.bytes_received) for name, one in found))


def _process() -> Iterable[Family]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    yield counter("phimage_cpu_seconds", "Seconds of processor time", used.ru_utime + used.ru_stime)
    yield gauge("phimage_resident_bytes", "Resident memory of a process; the largest", resident)


def _by(name: str, help: str, label: str, values: Iterable[tuple[str, float]]) -> Family:
    return Family(name, "counter", help, (label,), tuple(Sample((key,), value) for key, value in values))
