"""`python -m bench.console [ROUNDS]`: lists of images beside one reader of the console, against lists without one.

The reader opens a page a second, with each of the pages that people look at most in turn, as an operator. The load is the hot
mix on 1,000 images, on a server with one worker. Runs without and with the reader take turns. Ends with 1 below FLOOR.
"""

from __future__ import annotations

import sys
import threading
import time

import urllib3

from bench import processes
from bench.beside import loaded_server
from bench.figures import spread
from phimage.client import Client

ROUNDS = 5
SECONDS = 6
FLOOR = 0.98
PAGES = ("", "images", "images/{id}", "images/{id}/why", "matrix", "log")


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
    with loaded_server() as server:
        reader = Reader(server.operator)
        page = _page_seconds(reader, server.worker)
        found = server.compare(rounds, SECONDS, reader.read)
    alone, beside = found.p99
    print(f"lists/s: {found.alone:.0f} alone")
    print(f"a page costs {1000 * page:.1f} ms of the worker")
    print(f"beside a reader: {found.by_time.text(3)} by time, {found.by_cpu.text(3)} by processor time; at least {FLOOR}")
    print(f"p99 of lists: {alone:.1f} ms alone, {beside:.1f} ms beside")
    print(f"a page beside lists: {1000 * spread(reader.seconds).median:.0f} ms")
    sys.exit(1 if found.errors or found.by_cpu.median < FLOOR else 0)


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


if __name__ == "__main__":
    main()
