"""The publisher processes beside a server: started with it, started again when they end, stopped with it.

A publisher is a process of its own, so that a large disk neither slows a list down nor takes the server's memory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import structlog

from phimage.metrics.shared import MetricsSlot, SharedMetrics
from phimage.process import die_with_parent, give_memory_back
from phimage.settings import Settings, as_variables

log = structlog.get_logger()

STOP_SECONDS = 8.0
"""How long a publisher may take to let its job go before it is killed, which costs the job its lease and nothing else."""
LONGEST_PAUSE = 30.0


class Publishers:
    """As many processes as the settings say. `start` is called at most once, `stop` at the end."""

    def __init__(self, settings: Settings, shares: SharedMetrics) -> None:
        """In `shares` they write their metrics: there is a further slot for each."""
        self._settings = settings
        self._shares = shares
        self._stopping = threading.Event()
        numbers = range(settings.publishers)
        self._threads = [threading.Thread(target=self._keep, args=(number,), daemon=True) for number in numbers]

    def start(self) -> None:
        """Start them. Returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop them, and wait until they have ended."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _keep(self, number: int) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            began = time.monotonic()
            process = self._run(self._shares.further_slot(number))
            while process.poll() is None and not self._stopping.wait(0.1):
                pass
            if self._stopping.is_set():
                _end(process)
                return
            log.warning("publisher.ended", status=process.returncode)
            pause = 1.0 if time.monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            self._stopping.wait(pause)

    def _run(self, place: MetricsSlot) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != "PHIMAGE_CONFIG"}
        return subprocess.Popen(  # noqa: S603  ourselves
            [
                *(sys.executable, "-m", "phimage", "publisher"),
                *("--parent", str(os.getpid()), "--measures", f"{place.file}:{place.slot}"),
            ],
            pass_fds=[place.file],
            env={**environment, **as_variables(self._settings)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_until_told(settings: Settings, parent: int | None, place: MetricsSlot | None) -> None:
    """Publish in this process until SIGINT or SIGTERM, or until its parent ends. Raises SetupError."""
    if parent is not None:
        die_with_parent(parent)  # first of all: what follows takes a while
    from phimage.bootstrap import run_publisher  # late: the parent needs nothing of it

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    give_memory_back()
    run_publisher(settings, stop, place)
