"""The publisher processes of a server: start and stop with it, and restart when they end.

Publishers are separate processes, so that a large disk neither slows lists down nor uses the server's memory.
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
from phimage.processes.runtime import configure_log, die_with_parent, return_freed_memory
from phimage.settings import Settings, as_variables

log = structlog.get_logger()

STOP_SECONDS = 8.0
"""Seconds that a publisher has to release its job. Then it is killed, and its job waits for the lease to expire."""
MAX_RESTART_PAUSE = 30.0


# docs/decisions.md#publishers-are-processes-of-their-own
class Publishers:
    """Supervises the publisher processes. `start` may be called once, `stop` at the end."""

    def __init__(self, settings: Settings, shared_metrics: SharedMetrics) -> None:
        """Each publisher writes its metrics to its own slot of `shared_metrics`."""
        self._settings = settings
        self._shared_metrics = shared_metrics
        self._stopping = threading.Event()
        numbers = range(settings.publishers)
        self._threads = [threading.Thread(target=self._supervise, args=(number,), daemon=True) for number in numbers]

    def start(self) -> None:
        """Start the processes. Does not wait for them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the processes and wait until they have ended."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _supervise(self, number: int) -> None:
        pause = 1.0
        while not self._stopping.is_set():
            began = time.monotonic()
            process = self._run(self._shared_metrics.further_slot(number))
            while process.poll() is None and not self._stopping.wait(0.1):
                pass
            if self._stopping.is_set():
                _end(process)
                return
            log.warning("publisher.ended", status=process.returncode)
            pause = 1.0 if time.monotonic() - began > MAX_RESTART_PAUSE else min(2 * pause, MAX_RESTART_PAUSE)
            self._stopping.wait(pause)

    def _run(self, slot: MetricsSlot) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != "PHIMAGE_CONFIG"}
        return subprocess.Popen(  # noqa: S603  this program
            [
                *(sys.executable, "-m", "phimage", "publisher"),
                *("--parent", str(os.getpid()), "--metrics-slot", f"{slot.file}:{slot.number}"),
            ],
            pass_fds=[slot.file],
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


def run_until_stopped(settings: Settings, parent: int | None, slot: MetricsSlot | None) -> None:
    """Publish in this process until SIGINT or SIGTERM, or until its parent ends. Raises SetupError."""
    if parent is not None:
        die_with_parent(parent)  # before the slow imports
    from phimage.application import run_publisher  # late: the supervising process does not need it

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return_freed_memory()
    configure_log()
    run_publisher(settings, stop, slot)
