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

from msgspec import Struct

from phimage.event_log import log, writes_infos
from phimage.metrics.process import add_ended
from phimage.metrics.shared import MetricsSlot, SharedMetrics
from phimage.processes.runtime import die_with_parent, return_freed_memory
from phimage.settings import Settings, as_variables

STOP_SECONDS = 8.0
"""Seconds that a publisher has to release its job. Then it is killed, and its job waits for the lease to expire."""
MAX_RESTART_PAUSE = 30.0
MAX_PUBLISHERS = 64
_OF_WORKERS = tuple(
    f"PHIMAGE_{name}"
    for name in (
        *("WORKERS", "TLS_", "MAX_CONNECTIONS", "HEADER_", "IDLE_", "BODY_", "MAX_BODIES_", "MAX_WORKER_DEATHS"),
        *("REQUIRE_ZONE", "DEFAULT_LIMIT", "MAX_LIMIT", "TRUSTED_PROXIES", "PUBLIC_URL", "MAX_DOWNLOADS"),
        *("RATE", "BURST", "METRICS_NETWORKS", "ALLOW_LEGACY_", "LOG_REQUESTS", "SHUTDOWN_", "EXPLAIN_"),
    )
)
"""Beginnings of the variables that publishers do not read. A change of any other one replaces them."""


class PublisherProcess(Struct, eq=False):
    """A publisher. `pause` is the time before its next start, in seconds; `kill_at` is set once it must end."""

    process: subprocess.Popen[bytes] | None = None
    slot: MetricsSlot | None = None
    began: float = 0.0
    pause: float = 1.0
    start_at: float = 0.0
    kill_at: float | None = None


# docs/decisions.md#publishers-are-processes-of-their-own
class Publishers:
    """Supervises the publisher processes, without a thread: its owner calls `supervise` several times a second."""

    def __init__(self, settings: Settings, shared_metrics: SharedMetrics) -> None:
        """Each publisher writes its metrics to its own slot of `shared_metrics`."""
        self._settings = settings
        self._shared_metrics = shared_metrics
        self._running: list[PublisherProcess] = []
        self._ending: list[PublisherProcess] = []

    def start(self) -> None:
        """Start the processes. Does not wait for them."""
        self._running = [PublisherProcess() for _ in range(self._settings.publishers)]
        self.supervise()

    def change(self, settings: Settings) -> None:
        """Go on with other settings. Publishers go on with their jobs unless a setting that they may read has changed."""
        before, self._settings = self._settings, settings
        if _of_publishers(settings) != _of_publishers(before):
            self.begin_stop()
            self.start()

    def supervise(self) -> None:
        """Start what must run, and kill what did not end in time. Does not block."""
        now = time.monotonic()
        for each in self._running:
            if each.process is not None and each.process.poll() is not None:
                self._note_end(each, now)
            if each.process is None and now >= each.start_at:
                self._run(each, now)
        for each in list(self._ending):
            if each.process is None or each.process.poll() is not None:
                self._release(each)
                self._ending.remove(each)
            elif each.kill_at is not None and now >= each.kill_at:
                each.process.kill()

    def begin_stop(self) -> None:
        """Have the processes release their jobs and end. Does not wait for them."""
        for each in self._running:
            if each.process is not None:
                each.process.terminate()
                each.kill_at = time.monotonic() + STOP_SECONDS
        self._ending += self._running
        self._running = []

    def stop(self) -> None:
        """Stop the processes and wait until they have ended."""
        self.begin_stop()
        while self._ending:
            self.supervise()
            time.sleep(0.02)

    def _note_end(self, each: PublisherProcess, now: float) -> None:
        assert each.process is not None
        log.warning("publisher.ended", status=each.process.returncode)
        each.pause = 1.0 if now - each.began > MAX_RESTART_PAUSE else min(2 * each.pause, MAX_RESTART_PAUSE)
        each.start_at = now + each.pause
        each.process = None  # its slot stays until the next start: it may say why the publisher ended

    def _release(self, each: PublisherProcess) -> None:
        each.process = None
        if each.slot is not None:
            self._shared_metrics.release(each.slot.number, add_ended)
            each.slot = None

    def _run(self, each: PublisherProcess, now: float) -> None:
        self._release(each)
        if not self._shared_metrics.has_slot_for_publisher():
            return  # until one of those that are ending has ended
        slot = each.slot = self._shared_metrics.claim_for_publisher()
        each.began = now
        environment = {name: value for name, value in os.environ.items() if name != "PHIMAGE_CONFIG"}
        try:
            each.process = subprocess.Popen(  # noqa: S603  this program
                [
                    *(sys.executable, "-m", "phimage", "publisher"),
                    *("--parent", str(os.getpid()), "--metrics-slot", f"{slot.file}:{slot.number}"),
                    *(() if writes_infos() else ("--warnings-only",)),
                ],
                pass_fds=[slot.file],
                env={**environment, **as_variables(self._settings)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except OSError as error:  # a limit on processes or files, which may pass
            log.error("publisher.not_started", reason=str(error))
            each.start_at = now + each.pause


def _of_publishers(settings: Settings) -> dict[str, str]:
    return {name: value for name, value in as_variables(settings).items() if not name.startswith(_OF_WORKERS)}


def run_until_stopped(settings: Settings, parent: int | None, slot: MetricsSlot | None) -> None:
    """Publish in this process until SIGINT or SIGTERM, or until its parent ends. Raises SetupError."""
    if parent is not None:
        die_with_parent(parent)  # before the slow imports
    from phimage.application import run_publisher  # late: the supervising process does not need it

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return_freed_memory()
    run_publisher(settings, stop, slot)
