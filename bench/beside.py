"""Lists of images while a server does other work too, against lists alone: runs without and with that work take turns.

The load is the hot mix on 1,000 images, on a server with one worker.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from bench import catalogue, mixes, processes, servers, wrk
from bench.figures import Spread, spread
from phimage.client import Client
from phimage.installation import open_catalog, recover_operator_key
from phimage.settings import Settings

IMAGES = 1_000

Work = Callable[[threading.Event], None]
"""Works in a thread until the event is set."""


class ListRun(Struct, frozen=True):
    """A run: lists per second, and per processor second of the worker, which depends less on what else runs."""

    per_second: float
    per_cpu_second: float
    p99: float
    errors: int


class Comparison(Struct, frozen=True):
    """Runs alone and beside other work, in turn."""

    pairs: list[tuple[ListRun, ListRun]]

    @property
    def alone(self) -> float:
        """The median of lists per second without other work."""
        return statistics.median(alone.per_second for alone, _ in self.pairs)

    @property
    def by_time(self) -> Spread:
        """Lists per second with other work, divided by those without."""
        return spread([beside.per_second / alone.per_second for alone, beside in self.pairs])

    @property
    def by_cpu(self) -> Spread:
        """The same per processor second."""
        return spread([beside.per_cpu_second / alone.per_cpu_second for alone, beside in self.pairs])

    @property
    def p99(self) -> tuple[float, float]:
        """The median 99th percentile in ms, without and with other work."""
        alone, beside = zip(*self.pairs, strict=True)
        return statistics.median(run.p99 for run in alone), statistics.median(run.p99 for run in beside)

    @property
    def errors(self) -> int:
        """Lists that failed."""
        return sum(alone.errors + beside.errors for alone, beside in self.pairs)


class LoadedServer:
    """A server with a filled catalogue, its operator, and the load that it gets."""

    def __init__(self, server: servers.Running, operator: Client, bodies: list[str], work: Path) -> None:
        self.operator = operator
        self.worker = processes.worker(server.process)
        self._server, self._bodies, self._work = server, bodies, work

    def compare(self, rounds: int, seconds: int, *works: Work) -> Comparison:
        """Measure so many rounds of runs that take so many seconds, without and with the works."""
        self._run(seconds)  # fills the caches
        pairs = []
        for _ in range(rounds):
            alone = self._run(seconds)
            with _in_threads(works):
                pairs.append((alone, self._run(seconds)))
        return Comparison(pairs)

    def _run(self, seconds: int) -> ListRun:
        before = processes.processor_seconds(self.worker)
        load = wrk.post(self._server.url, self._bodies, self._work, seconds)
        spent = processes.processor_seconds(self.worker) - before
        return ListRun(load.requests_per_second, load.requests / spent, load.p99, load.errors)


@contextmanager
def loaded_server() -> Iterator[LoadedServer]:
    """Start a server on a new catalogue."""
    wrk.find()
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder:
        data = Path(folder) / "data"
        settings = Settings(data_dir=str(data))
        catalogue.fill(settings, IMAGES)
        key = recover_operator_key(settings)
        opened = open_catalog(settings)
        bodies = mixes.hot(IMAGES, opened.now(wait=True).topology())
        opened.database.close()
        with servers.phimage(data) as server, Client(server.url, key.public, key.private) as operator:
            yield LoadedServer(server, operator, bodies, Path(folder))


@contextmanager
def _in_threads(works: tuple[Work, ...]) -> Iterator[None]:
    stop = threading.Event()
    with ExitStack() as stack:
        for work in works:
            thread = threading.Thread(target=work, args=(stop,))
            stack.callback(thread.join)
            thread.start()
        stack.callback(stop.set)
        yield
