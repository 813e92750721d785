"""The measurements. Each takes floor and product in turn, so that a drift of the machine hits both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from msgspec import Struct

from bench import mixes, servers, wrk
from bench.catalogue import LARGE_FROM, projects, tenant
from phimage.model.topology import Topology

COLD_RATE = 4_000
"""Cold requests prepared for each second of a run: more than any server here answers."""
WARM_UP = 200
"""Cold requests sent before the measurement, so that places and base images are cached."""


class Ratio(Struct, frozen=True):
    """Alternating runs of floor and product."""

    floor: list[wrk.Load]
    ours: list[wrk.Load]

    @property
    def median(self) -> float:
        """Requests per second as a fraction of the floor's."""
        return statistics.median(self._each())

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a run."""
        return min(self._each()), max(self._each())

    @property
    def errors(self) -> int:
        """Failed requests."""
        return sum(load.errors for load in [*self.floor, *self.ours])

    def _each(self) -> list[float]:
        return [ours.requests_per_second / floor.requests_per_second for floor, ours in zip(self.floor, self.ours, strict=True)]


class HalfLoad(Struct, frozen=True):
    """Latency at half of the requests per second that the hot mix reached, in milliseconds.

    `to_smallest`: p99 as a multiple of the smallest catalogue's, which was loaded in turn; 1 for the smallest itself.
    """

    requests_per_second: float
    p50: float
    p99: float
    to_smallest: float


class Pages(Struct, frozen=True):
    """Median milliseconds of a page of the large project that no cache holds."""

    first: float
    last: float


class Catalogue(Struct, frozen=True):
    """All measurements of one catalogue on one database."""

    images: int
    database: str
    start_seconds: float
    hot: Ratio
    half: HalfLoad
    cold: Ratio | None
    pages: Pages | None
    idle_megabytes: float
    full_megabytes: float


class Effort(Struct, frozen=True):
    """How long to measure: seconds per run, and the number of runs."""

    seconds: int
    rounds: int


Announce = Callable[[str], None]


class Place(Struct, frozen=True):
    """A catalogue to measure: its data folder, the address of its database if that is PostgreSQL, and its size."""

    data: Path
    url: str
    images: int


def catalogue(place: Place, smallest: Place, topology: Topology, work: Path, effort: Effort, announce: Announce) -> Catalogue:
    """Measure one catalogue, beside the smallest."""
    data, url, images = place.data, place.url, place.images
    database = "PostgreSQL" if url else "SQLite"
    name = f"{images:,} images on {database}"
    with servers.phimage(data, url) as running:
        announce(f"{name}: start")
        servers.ask(running.url, mixes.one(tenant(0, topology)))
        start_seconds = time.perf_counter() - running.started
        idle = running.worker_megabytes()
        announce(f"{name}: hot mix")
        bodies = mixes.hot(images, topology)
        answers = [servers.ask(running.url, body) for body in bodies]
        with servers.bare(answers, work) as floor:
            hot = ratio(floor, running.url, lambda: bodies, work, effort)
            half = half_load(running.url, bodies, hot, None if place == smallest else smallest, topology, work, effort)
            cold, pages = None, None
            if images >= LARGE_FROM:
                announce(f"{name}: cold mix")
                cold = cold_ratio(floor, running.url, images, topology, work, effort)
                announce(f"{name}: pages")
                pages = page_times(running.url, topology)
        return Catalogue(images, database, start_seconds, hot, half, cold, pages, idle, running.worker_megabytes())


def ratio(floor: str, ours: str, bodies: Callable[[], Sequence[str]], work: Path, effort: Effort) -> Ratio:
    """Load the floor and the product in turn."""
    runs = []
    for _ in range(effort.rounds):
        sent = bodies()
        pair = wrk.post(floor, sent, work, effort.seconds), wrk.post(ours, sent, work, effort.seconds)
        runs.append(pair)
    return Ratio([run[0] for run in runs], [run[1] for run in runs])


def cold_ratio(floor: str, ours: str, images: int, topology: Topology, work: Path, effort: Effort) -> Ratio:
    """Requests that no cache holds. Each run has its own, more than it can send."""
    questions = mixes.cold(images, topology)
    for body in islice(questions, WARM_UP):
        servers.ask(ours, body)
    each = min(COLD_RATE * effort.seconds, (projects(images) - WARM_UP) // effort.rounds)
    shorter = Effort(max(1, each // COLD_RATE), effort.rounds)
    found = ratio(floor, ours, lambda: list(islice(questions, each)), work, shorter)
    if any(load.requests > each for load in found.ours):
        raise RuntimeError(f"a run asked more than {each} questions: the later ones were not new")
    return found


def half_load(
    url: str, bodies: Sequence[str], hot: Ratio, smallest: Place | None, topology: Topology, work: Path, effort: Effort
) -> HalfLoad:
    """Half of the maximum load: 32 clients that pause between requests; alternates with the smallest catalogue."""
    limit = statistics.median(load.requests_per_second for load in hot.ours)
    pause = wrk.half_load_pause(limit)

    def once(where: str, sent: Sequence[str]) -> wrk.Load:
        return wrk.post(where, sent, work, effort.seconds, pause=pause)

    with ExitStack() as stack:
        loads, ratios = [], [1.0]
        if smallest is not None:
            beside = stack.enter_context(servers.phimage(smallest.data, smallest.url)).url
            asked = mixes.hot(smallest.images, topology)
            for body in asked:
                servers.ask(beside, body)
            ratios = []
        for _ in range(effort.rounds):
            loads.append(once(url, bodies))
            if smallest is not None:
                ratios.append(loads[-1].p99 / once(beside, asked).p99)
    return HalfLoad(
        statistics.median(load.requests_per_second for load in loads),
        statistics.median(load.p50 for load in loads),
        statistics.median(load.p99 for load in loads),
        statistics.median(ratios),
    )


def page_times(url: str, topology: Topology) -> Pages:
    """Request first and last pages alternately."""
    first, last = mixes.pages(topology)
    servers.ask(url, first.pop())  # the project's images are read
    found = [(_time(url, one), _time(url, other)) for one, other in zip(first, last, strict=False)]
    return Pages(statistics.median(one for one, _ in found), statistics.median(other for _, other in found))


def _time(url: str, body: str) -> float:
    begun = time.perf_counter()
    servers.ask(url, body)
    return (time.perf_counter() - begun) * 1000
