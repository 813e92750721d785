"""`python -m bench.console [ROUNDS]`: lists of images beside one reader of the console, against lists without one.

The reader opens each of the pages that people look at most in turn, as an operator: RATE a second, since what one a second
costs is less than what differs by chance. The load is the hot mix on 1,000 images, on a server with one worker. Short runs
without and with the reader take turns. Writes RESULTS-console.md, and ends with 1 if a page a second leaves less than FLOOR.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3
from msgspec import Struct

from bench import processes
from bench.beside import IMAGES, Comparison, LoadedServer, loaded_server
from bench.figures import Spread, spread
from bench.pages import machine, paragraph
from phimage.client import Client

ROUNDS = 20
SECONDS = 2
RATE = 5
FLOOR = 0.98
OPENED = 50
"""How often each page is opened to see what it costs: the kernel counts hundredths of a second."""
PAGES = ("", "images", "images/{id}", "images/{id}/why", "matrix", "log")
RESULTS = Path(__file__).parent / "RESULTS-console.md"


class PageCost(Struct, frozen=True):
    """What a page costs a worker that has nothing else to do, in processor seconds, and its bytes, packed."""

    name: str
    seconds: float
    size: int


class Memory(Struct, frozen=True):
    """The memory of the worker in MB: before the first page, after it, after each page once, and after many."""

    before: float
    first: float
    each: float
    many: float


class Reader:
    """A browser that is signed in to the console."""

    def __init__(self, operator: Client) -> None:
        self._url = operator.endpoint.rstrip("/")
        self._http = urllib3.PoolManager()
        code = str(operator.call("CreateConsoleLogin").fields["LoginUrl"]).partition("#")[2]
        own_page = {"Origin": self._url, "Sec-Fetch-Site": "same-origin"}
        answer = self._http.request("POST", f"{self._url}/console/login/code", json={"Code": code}, headers=own_page)
        self._headers = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "Accept-Encoding": "gzip"}
        image = operator.call("FindPHostImages", Limit=1).fields["ImageSet"][0]["Image"]["ImageId"]
        self.paths = [f"/console/{page.format(id=image)}" for page in PAGES]
        self.waited: list[float] = []
        """The seconds that `read` waited for each page."""
        self.own_seconds = 0.0
        """The processor seconds of `read` itself."""

    def open(self, path: str) -> int:
        """Open a page. Returns its bytes, packed."""
        answer = self._http.request("GET", self._url + path, headers=self._headers, redirect=False, decode_content=False)
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        return len(answer.data)

    def read(self, stop: threading.Event) -> None:
        """Open RATE pages a second, each in turn, until `stop` is set."""
        while not stop.wait(1 / RATE):
            begun = time.perf_counter()
            self.open(self.paths[len(self.waited) % len(self.paths)])
            self.waited.append(time.perf_counter() - begun)
        self.own_seconds += time.thread_time()


def main() -> None:
    """Measure, print, and write RESULTS-console.md."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with loaded_server() as server:
        before = processes.megabytes(server.worker)
        reader = Reader(server.operator)
        first, *others = reader.paths
        reader.open(first)
        after_first = processes.megabytes(server.worker)
        for path in others:
            reader.open(path)
        after_each = processes.megabytes(server.worker)
        costs = list(_costs(reader, server))
        memory = Memory(before, after_first, after_each, processes.megabytes(server.worker))
        found = server.compare(rounds, SECONDS, reader.read)
    text = report(found, reader, costs, memory)
    RESULTS.write_text(text)
    print(text)
    sys.exit(1 if found.errors or _left(found.by_cpu) < FLOOR else 0)


def _costs(reader: Reader, server: LoadedServer) -> Iterator[PageCost]:
    for name, path in zip(PAGES, reader.paths, strict=True):
        size = reader.open(path)
        before = processes.processor_seconds(server.worker)
        for _ in range(OPENED):
            reader.open(path)
        yield PageCost(name, (processes.processor_seconds(server.worker) - before) / OPENED, size)


def report(found: Comparison, reader: Reader, costs: list[PageCost], memory: Memory) -> str:
    """The results as a page."""
    alone, beside = found.p99
    read, waited = len(reader.waited), spread(reader.waited)
    cost = sum(each.seconds for each in costs) / len(costs)
    about = (
        f"One reader opens {RATE} pages a second, these in turn, as an operator; the load is the hot mix on"
        f" {IMAGES:,} images, from wrk with 32 connections, on a server with one worker. {len(found.pairs)} rounds of"
        f" {SECONDS} s without and {SECONDS} s with the reader, on {machine()}. The reader, wrk and the server share the cores;"
        f" {os.getloadavg()[1]:.1f} programs wanted one at the end (load average of five minutes). Medians, with the lowest and"
        f" the highest; what a page a second takes is reckoned as a part of what these take, 1 in {RATE}."
        " `python -m bench.console` writes this page."
    )
    times = (
        f"Alone the worker answers {found.alone:,.0f} lists/s. The 99th percentile of a list is {alone:.1f} ms alone and"
        f" {beside:.1f} ms beside the reader, who waits {_ms(waited.median)} ms ({_ms(waited.low)} to {_ms(waited.high)}) for a"
        f" page. A page costs the worker {_ms(found.processor_seconds_of_work / read)} ms more than the lists beside it, and"
        f" {_ms(cost)} ms when it has nothing else to do. The reader's own {_ms(reader.own_seconds / read)} ms are in the lists"
        " per second alone."
    )
    room = (
        f"The memory of the worker is {memory.before:.0f} MB before the first page, {memory.first:.0f} MB after it,"
        f" {memory.each:.0f} MB after each of these pages, and {memory.many:.0f} MB after {OPENED + 2} of each. The log of this"
        " catalogue has a few revisions of hundreds of records each, which makes the overview and the log dearer than small"
        " changes do."
    )
    per_cpu = "lists per processor second of the worker"
    return "\n".join(
        [
            "# Lists beside a reader of the console",
            "",
            *paragraph(about),
            "",
            "| | measured | goal | met |",
            "|---|---:|---:|---|",
            f"| {per_cpu}, beside the reader ÷ alone | {found.by_cpu.text(3)} | | |",
            f"| lists per second, the same | {found.by_time.text(3)} | | |",
            f"| {per_cpu}, with a page a second ÷ alone | {_left(found.by_cpu):.3f} | ≥ {FLOOR} | {_met(found.by_cpu)} |",
            f"| lists per second, the same | {_left(found.by_time):.3f} | ≥ {FLOOR} | {_met(found.by_time)} |",
            f"| {per_cpu}, alone ÷ alone in the next round | {found.by_chance.text(3)} | | |",
            "",
            *paragraph(times),
            "",
            "| page | ms of the worker | kB sent |",
            "|---|---:|---:|",
            *(f"| `/console/{each.name}` | {_ms(each.seconds)} | {each.size / 1000:.1f} |" for each in costs),
            "",
            *paragraph(room),
            "",
        ]
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _left(measured: Spread) -> float:
    """The part of the lists that a page a second leaves, when RATE a second leave the measured part."""
    return 1 - (1 - measured.median) / RATE


def _met(measured: Spread) -> str:
    return "yes" if _left(measured) >= FLOOR else "**no**"


if __name__ == "__main__":
    main()
