"""Lists of images while a server does other work too, against lists alone: runs without and with that work take turns.

The load is the hot mix on 1,000 images, on a server with one worker.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
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
    """A run: its lists, lists per second, and the processor seconds of the worker, which depend less on what else runs."""

    lists: int
    per_second: float
    processor_seconds: float
    p99: float
    errors: int

    @property
    def per_cpu_second(self) -> float:
        """Lists per processor second of the worker."""
        return self.lists / self.processor_seconds


class Comparison(Struct, frozen=True):
    """Rounds of a run alone and one beside other work; every other round begins with the latter, against drift."""

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
    def by_chance(self) -> Spread:
        """Lists per processor second of each run alone, divided by those of the next one: what differs without other work."""
        alone = [alone.per_cpu_second for alone, _ in self.pairs]
        return spread([one / another for one, another in pairwise(alone)] or [1.0])

    @property
    def processor_seconds_of_work(self) -> float:
        """The processor seconds of the worker in the runs beside other work, less those that their lists take alone."""
        of_list = sum(alone.processor_seconds for alone, _ in self.pairs) / sum(alone.lists for alone, _ in self.pairs)
        return sum(beside.processor_seconds - of_list * beside.lists for _, beside in self.pairs)

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
        for number in range(rounds):
            runs = {}
            for has_works in (False, True) if number % 2 == 0 else (True, False):
                with _in_threads(works if has_works else ()):
                    runs[has_works] = self._run(seconds)
            pairs.append((runs[False], runs[True]))
        return Comparison(pairs)

    def _run(self, seconds: int) -> ListRun:
        before = processes.processor_seconds(self.worker)
        load = wrk.post(self._server.url, self._bodies, self._work, seconds)
        spent = processes.processor_seconds(self.worker) - before
        return ListRun(load.requests, load.requests_per_second, spent, load.p99, load.errors)


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
