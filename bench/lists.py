"""The list of images: signed requests for pages of 20, against one worker, in turn with the floors.

The floors send the same bytes: nginx from files, and the bare server of `bench.bare`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from msgspec import Struct
from tests.postgresql import own_server

from bench import catalogue, mixes, processes, servers, wrk
from bench.catalogue import LARGE_FROM, projects, tenant
from bench.figures import Figures
from phimage.installation import open_catalog
from phimage.model.topology import Topology
from phimage.settings import Settings

SIZES = (100_000, 1_000_000)
QUICK_SIZES = (10_000,)
POSTGRESQL_SIZE = 100_000
COLD_RATE = 6_000
"""Cold requests prepared for each second of a run: more than phimage can answer."""
WARM_UP = 200
"""Cold requests sent before the measurement, so that places and base images are cached."""
BUFFERS = "256MB"
"""`shared_buffers` of PostgreSQL."""

Announce = Callable[[str], None]


class Effort(Struct, frozen=True):
    """How long to measure: seconds of a run, and the number of rounds."""

    seconds: int
    rounds: int


class Place(Struct, frozen=True):
    """A catalogue: its data folder, the address of its database if that is PostgreSQL, and its size."""

    data: Path
    url: str
    images: int

    @property
    def name(self) -> str:
        """As the page says it."""
        return f"{self.images:,} images, {'PostgreSQL' if self.url else 'SQLite'}"


def measure(figures: Figures, effort: Effort, sizes: Sequence[int], announce: Announce, *, postgresql: bool) -> None:
    """All catalogues."""
    figures.about = f"Runs of {effort.seconds} s, wrk with {wrk.CONNECTIONS} connections"
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder:
        for number, place in enumerate(_places(sizes, postgresql, Path(folder), announce)):
            work = Path(folder) / str(number)
            work.mkdir()
            _Lists(place, work, effort, figures).measure(announce)


class _Lists:
    """The measurements of one catalogue."""

    def __init__(self, place: Place, work: Path, effort: Effort, figures: Figures) -> None:
        self._place = place
        self._work = work
        self._effort = effort
        self._figures = figures
        self._topology = _topology(Settings(data_dir=str(place.data), database=place.url))

    def measure(self, announce: Announce) -> None:
        place = self._place
        announce(f"{place.name}: hot list")
        with servers.phimage(place.data, place.url) as running:
            servers.ask(running.url, mixes.one(tenant(0, self._topology)))
            self._add("seconds to the first answer", time.perf_counter() - running.started)
            self._add("MB at the start", running.worker_megabytes())
            bodies = mixes.hot(place.images, self._topology)
            answers = [servers.ask(running.url, body) for body in bodies]
            self._add("bytes of an answer", statistics.mean(map(len, answers)))
            paths = servers.answer_files(answers, self._work / "answers-nginx")
            with (
                servers.bare(answers, self._work) as bare,
                servers.nginx(self._work / "answers-nginx", self._work) as (nginx, _),
            ):
                for _ in range(self._effort.rounds):
                    self._turn("hot", running, nginx, bare, bodies, paths, self._effort.seconds)
                self._half_load(running, bodies)
                if place.images >= LARGE_FROM:
                    announce(f"{place.name}: cold list")
                    self._cold(nginx, bare, paths)
                    self._pages(running.url)
            self._add("MB at the end", running.worker_megabytes())

    def _add(self, name: str, value: float) -> None:
        self._figures.add(f"{self._place.name}: {name}", value)

    def _turn(
        self,
        mix: str,
        running: servers.Running,
        nginx: str,
        bare: str,
        bodies: Sequence[str],
        paths: Sequence[str],
        seconds: int,
    ) -> wrk.Load:
        """One round: nginx, the bare server, phimage."""
        self._add(f"{mix}, nginx", wrk.post(nginx, bodies, self._work, seconds, paths=paths).requests_per_second)
        self._add(f"{mix}, bare server", wrk.post(bare, bodies, self._work, seconds).requests_per_second)
        worker = processes.worker(running.process)
        used = processes.processor_seconds(worker)
        load = wrk.post(running.url, bodies, self._work, seconds)
        if load.errors:
            raise RuntimeError(f"{load.errors} requests failed")
        self._add(f"{mix}, phimage", load.requests_per_second)
        self._add(f"{mix}, us of the worker", (processes.processor_seconds(worker) - used) * 1e6 / load.requests)
        self._add(f"{mix}, p99 ms", load.p99)
        return load

    def _half_load(self, running: servers.Running, bodies: Sequence[str]) -> None:
        """Half of what the hot list reached: 32 clients that pause between requests."""
        limit = statistics.median(self._figures.series[f"{self._place.name}: hot, phimage"])
        for _ in range(self._effort.rounds):
            load = wrk.post(running.url, bodies, self._work, self._effort.seconds, pause=wrk.half_load_pause(limit))
            self._add("half load, p50 ms", load.p50)
            self._add("half load, p99 ms", load.p99)

    def _cold(self, nginx: str, bare: str, paths: Sequence[str]) -> None:
        """Requests that no cache holds: each round has a new server, and more of them than it can send."""
        images = self._place.images
        count = min(COLD_RATE * self._effort.seconds, projects(images) - WARM_UP)
        for _ in range(self._effort.rounds):
            questions = mixes.cold(images, self._topology)
            with servers.phimage(self._place.data, self._place.url) as running:
                for body in islice(questions, WARM_UP):
                    servers.ask(running.url, body)
                bodies = list(islice(questions, count))
                load = self._turn("cold", running, nginx, bare, bodies, paths, max(1, count // COLD_RATE))
            if load.requests > count:
                raise RuntimeError(f"a run asked more than {count} questions: the later ones were not new")

    def _pages(self, url: str) -> None:
        """The first and the last pages of the large project, in turn, each for the first time."""
        first, last = mixes.pages(self._topology)
        servers.ask(url, first.pop())  # the project's images are read
        for one, other in zip(first, last, strict=False):
            self._add("ms of a first page of 10,000 images", _milliseconds(url, one))
            self._add("ms of a last page of 10,000 images", _milliseconds(url, other))


def _places(sizes: Sequence[int], postgresql: bool, work: Path, announce: Announce) -> Iterator[Place]:
    for images in sizes:
        announce(f"{images:,} images: the catalogue, which takes a while the first time")
        yield Place(catalogue.folder(images), "", images)
    if postgresql:
        announce(f"{POSTGRESQL_SIZE:,} images: the catalogue on PostgreSQL, which takes a while")
        with _on_postgresql(POSTGRESQL_SIZE, work) as settings:
            yield Place(settings.data_folder, settings.database, POSTGRESQL_SIZE)


@contextmanager
def _on_postgresql(images: int, work: Path) -> Iterator[Settings]:
    with own_server(BUFFERS) as server:
        name = server.create()
        settings = Settings(data_dir=str(work / "data"), database=server.url(name))
        catalogue.fill(settings, images)
        server.run(name, "VACUUM ANALYZE")  # which a server in use does by itself
        yield settings


def _topology(settings: Settings) -> Topology:
    catalog = open_catalog(settings)
    try:
        return catalog.now(wait=True).topology()
    finally:
        catalog.database.close()


def _milliseconds(url: str, body: str) -> float:
    begun = time.perf_counter()
    servers.ask(url, body)
    return (time.perf_counter() - begun) * 1000
