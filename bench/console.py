"""`python -m bench.console [ROUNDS]`: lists of images beside one reader of the console, against lists without one.

The reader opens a page a second, with each of the pages that people look at most in turn, as an operator. The load is the hot
mix on 1,000 images, on a server with one worker. Runs without and with the reader take turns. Ends with 1 below FLOOR.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3
from msgspec import Struct

from bench import catalogue, mixes, processes, servers, wrk
from bench.figures import spread
from phimage.client import Client
from phimage.installation import open_catalog, recover_operator_key
from phimage.settings import Settings

IMAGES = 1_000
ROUNDS = 5
SECONDS = 6
FLOOR = 0.98
PAGES = ("", "images", "images/{id}", "images/{id}/why", "matrix", "log")


class ListRun(Struct, frozen=True):
    """A run: lists per second, and per processor second of the worker, which depends less on what else runs."""

    per_second: float
    per_cpu_second: float
    p99: float
    errors: int


class Reader:
    """A browser that is signed in to the console. `seconds` are those that it waited for each page."""

    def __init__(self, operator: Client) -> None:
        self._url = operator.endpoint.rstrip("/")
        self._http = urllib3.PoolManager()
        self.seconds: list[float] = []
        code = str(operator.call("CreateConsoleLogin").fields["LoginUrl"]).partition("#")[2]
        own_page = {"Origin": self._url, "Sec-Fetch-Site": "same-origin"}
        answer = self._http.request("POST", f"{self._url}/console/login/code", json={"Code": code}, headers=own_page)
        self._headers = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "Accept-Encoding": "gzip"}
        image = operator.call("FindPHostImages", Limit=1).fields["ImageSet"][0]["Image"]["ImageId"]
        self._paths = [f"/console/{page.format(id=image)}" for page in PAGES]

    def open(self) -> None:
        """Open the next page."""
        path = self._paths[len(self.seconds) % len(self._paths)]
        begun = time.perf_counter()
        answer = self._http.request("GET", self._url + path, headers=self._headers, redirect=False)
        self.seconds.append(time.perf_counter() - begun)
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")

    def read(self, stop: threading.Event) -> None:
        """Open a page a second until `stop` is set."""
        while not stop.wait(1.0):
            self.open()


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    wrk.find()
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder:
        data, work = Path(folder) / "data", Path(folder)
        settings = Settings(data_dir=str(data))
        catalogue.fill(settings, IMAGES)
        key = recover_operator_key(settings)
        opened = open_catalog(settings)
        bodies = mixes.hot(IMAGES, opened.now(wait=True).topology())
        opened.database.close()
        with servers.phimage(data) as server, Client(server.url, key.public, key.private) as operator:
            reader = Reader(operator)
            worker = processes.worker(server.process)
            page = _page_seconds(reader, worker)
            _run(server, worker, bodies, work)  # fills the caches
            pairs = []
            for _ in range(rounds):
                alone = _run(server, worker, bodies, work)
                with _reading(reader):
                    pairs.append((alone, _run(server, worker, bodies, work)))
    by_time = spread([beside.per_second / alone.per_second for alone, beside in pairs])
    by_cpu = spread([beside.per_cpu_second / alone.per_cpu_second for alone, beside in pairs])
    tails = [statistics.median(run.p99 for run in runs) for runs in zip(*pairs, strict=True)]
    print(f"lists/s: {statistics.median(alone.per_second for alone, _ in pairs):.0f} alone")
    print(f"a page costs {1000 * page:.1f} ms of the worker")
    print(f"beside a reader: {by_time.text(3)} by time, {by_cpu.text(3)} by processor time; at least {FLOOR}")
    print(f"p99 of lists: {tails[0]:.1f} ms alone, {tails[1]:.1f} ms beside")
    print(f"a page beside lists: {1000 * spread(reader.seconds).median:.0f} ms")
    failed = sum(alone.errors + beside.errors for alone, beside in pairs)
    sys.exit(1 if failed or by_cpu.median < FLOOR else 0)


def _page_seconds(reader: Reader, worker: int) -> float:
    """The processor seconds of a page, on average, without other load."""
    for _ in PAGES:
        reader.open()
    before = processes.processor_seconds(worker)
    for _ in range(10 * len(PAGES)):
        reader.open()
    spent = processes.processor_seconds(worker) - before
    reader.seconds.clear()
    return spent / (10 * len(PAGES))


@contextmanager
def _reading(reader: Reader) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=reader.read, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _run(server: servers.Running, worker: int, bodies: list[str], work: Path) -> ListRun:
    before = processes.processor_seconds(worker)
    load = wrk.post(server.url, bodies, work, SECONDS)
    spent = processes.processor_seconds(worker) - before
    return ListRun(load.requests_per_second, load.requests / spent, load.p99, load.errors)


if __name__ == "__main__":
    main()
