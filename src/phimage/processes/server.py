"""The server's main process: it reserves the port, keeps workers and publishers running, and answers signals.

It has one thread and opens neither database nor store, so it can fork a worker at any time.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from mmap import mmap
from typing import TypeVar

from phimage.application import prime_decoders
from phimage.errors import SetupError, WorkersDied
from phimage.event_log import log
from phimage.metrics.shared import SharedMetrics
from phimage.processes.http_server import BACKLOG
from phimage.processes.publishers import MAX_PUBLISHERS, Publishers
from phimage.processes.runtime import notify_service_manager, tune_garbage_collector
from phimage.processes.tls import read_tls
from phimage.processes.workers import DRAIN_SECONDS, Generation, WorkerProcess, Workers
from phimage.settings import Settings, with_fixed

DEATHS_SECONDS = 60.0
"""Seconds in which the deaths of workers are counted."""
MIN_SLOTS = 64
"""Slots for the metrics of workers: those of a reload run beside the ones before."""
START_AGAIN_SECONDS = 1.0
"""Seconds until the next attempt to replace a worker that could not be started."""
_TICK_SECONDS = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

Prepared = TypeVar("Prepared")


def serve(
    settings: Settings,
    prepare: Callable[[Settings], Prepared],
    on_ready: Callable[[str, Prepared], bool],
    reread: Callable[[], Settings] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. SIGHUP replaces the workers by those of the settings that `reread` returns.

    Calls `prepare` once the port is reserved. Calls `on_ready` once all workers accept requests, with the address and the
    result of `prepare`; the server stops if it returns False. Raises SetupError if the port is in use or a file of the settings
    is wrong, and WorkersDied.
    """
    generation = Generation(settings, read_tls(settings))
    with listening(settings.host, settings.port) as listener:
        prime_decoders()  # here, so that no child has to repeat it
        tune_garbage_collector()
        prepared = prepare(settings)
        url = server_url("https" if generation.tls else "http", settings.host, listener.getsockname()[1])
        raise_file_limit()
        with _signals() as signals:
            _Supervisor(generation, listener, signals, reread or (lambda: settings)).run(lambda: on_ready(url, prepared))


class _Supervisor:
    """Keeps the workers of a server running."""

    def __init__(self, generation: Generation, listener: socket.socket, signals: int, reread: Callable[[], Settings]) -> None:
        settings = generation.settings
        shared_metrics = SharedMetrics(max(MIN_SLOTS, 4 * settings.workers), MAX_PUBLISHERS)
        self._current = generation
        self._next: Generation | None = None
        self._signals = signals
        self._reread = reread
        self._stopping = mmap(-1, 1)  # one byte, shared with the workers
        self._workers = Workers(listener, self._stopping, shared_metrics)
        self._publishers = Publishers(settings, shared_metrics)
        self._deaths: deque[float] = deque()
        self._is_serving = False
        self._must_reload = False
        self._replace_at = 0.0
        self._stop_at = float("inf")
        self._kill_at = float("inf")

    def run(self, on_ready: Callable[[], bool]) -> None:
        """Start, serve and stop."""
        try:
            self._start(self._current)
            while not (self._is_stopping and not self._workers):
                self._step()
                if not self._is_serving and not self._is_stopping and self._is_ready(self._current):
                    self._begin(on_ready)
        finally:
            self._publishers.stop()
            self._end_workers()

    @property
    def _is_stopping(self) -> bool:
        return self._kill_at < float("inf")

    def _begin(self, on_ready: Callable[[], bool]) -> None:
        self._is_serving = True
        self._publishers.start()  # not earlier: they would compete with the starting workers
        notify_service_manager("READY=1")
        if not on_ready():
            self._interrupt()

    def _step(self) -> None:
        """Wait for something to happen, for a moment, and act on it."""
        select.select([self._signals, self._workers.ready_pipe], [], [], _TICK_SECONDS)
        with suppress(BlockingIOError):
            for number in os.read(self._signals, 64):
                self._take(signal.Signals(number))
        self._workers.note_ready()
        for process, code in self._workers.reap():
            self._note_end(process, code)
        now = time.monotonic()
        if now >= self._kill_at:
            self._workers.kill()
        elif now >= self._stop_at and not self._is_stopping:
            self._stop()
        if self._is_serving and not self._is_stopping:
            self._publishers.supervise()
            self._replace_dead(now)
            self._reload()

    def _take(self, number: signal.Signals) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self._interrupt()
        elif number is signal.SIGHUP:
            self._must_reload = True

    def _interrupt(self) -> None:
        """Begin the shutdown; the second signal skips its delay."""
        notify_service_manager("STOPPING=1")
        wait = self._current.settings.shutdown_delay_seconds if self._stopping[0] == 0 else 0.0
        self._stopping[0] = 1  # from now on /readyz answers 503
        self._stop_at = time.monotonic() + wait

    def _stop(self) -> None:
        self._kill_at = time.monotonic() + DRAIN_SECONDS
        self._workers.stop()
        self._publishers.begin_stop()

    def _start(self, generation: Generation) -> None:
        while len(self._workers.of(generation)) < generation.settings.workers:
            self._workers.start(generation)

    def _is_ready(self, generation: Generation) -> bool:
        workers = self._workers.of(generation)
        return len(workers) == generation.settings.workers and all(worker.is_ready for worker in workers)

    # docs/decisions.md#a-dead-worker-is-replaced
    def _note_end(self, process: WorkerProcess, code: int) -> None:
        """Log a worker that ended by itself, and raise WorkersDied if too many did."""
        if process.is_ending or self._is_stopping:
            return
        if not self._is_serving:
            raise SetupError("a server process ended before it was ready; see its error above")
        log.error("worker.ended", process=process.pid, status=code)
        if process.generation is self._next:
            log.error("reload.failed", reason="a new server process ended")
            self._give_up_reload()
            return
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) > self._current.settings.max_worker_deaths:
            raise WorkersDied(
                f"{len(self._deaths)} server processes died within {DEATHS_SECONDS:.0f} s, the last with status {code}: "
                "see the log for the reason"
            )

    def _replace_dead(self, now: float) -> None:
        """Start the workers that are missing. What forbids it, such as a limit on processes, may pass."""
        if now < self._replace_at:
            return
        try:
            self._start(self._current)
        except (OSError, RuntimeError) as error:  # RuntimeError: too many old workers have not ended
            log.error("worker.not_started", reason=str(error))
            self._replace_at = now + START_AGAIN_SECONDS

    # docs/decisions.md#sighup-replaces-the-workers
    def _reload(self) -> None:
        """Start the workers of new settings, and once they are ready have those before them end."""
        if self._next is not None:
            if self._is_ready(self._next):
                self._workers.drain(self._current)
                self._current, self._next = self._next, None
                self._publishers.change(self._current.settings)
                log.info("reload.done")
                notify_service_manager("READY=1")
        elif self._must_reload:
            self._must_reload = False
            notify_service_manager(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                settings, fixed = with_fixed(self._current.settings, self._reread())
                self._next = Generation(settings, read_tls(settings))
                self._start(self._next)
            except (SetupError, OSError, RuntimeError) as error:  # RuntimeError: too many old workers have not ended
                log.error("reload.failed", reason=str(error))
                self._give_up_reload()
            else:
                if fixed:
                    log.warning("reload.needs_restart", settings=fixed)

    def _give_up_reload(self) -> None:
        """Go on with the workers that run."""
        if self._next is not None:
            self._workers.kill(self._next)
        self._next = None
        notify_service_manager("READY=1")

    def _end_workers(self) -> None:
        self._workers.kill()
        while self._workers:
            list(self._workers.reap())
            time.sleep(0.01)


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of received signals are read. The first SIGINT is no KeyboardInterrupt."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


_NO_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


# docs/decisions.md#all-workers-accept-from-one-socket
@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on the port, or on any free one for 0. Raises SetupError.

    All workers accept from it. It listens from the start: else another server could bind to the port as well.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            other = "an address of this machine with --host" if error.errno in _NO_ADDRESS else "another port with --port"
            raise SetupError(f"cannot listen on {host} port {port}: {error.strerror}; choose {other}") from None
        yield listener


def raise_file_limit() -> None:
    """Let this process and its children open as many files as they may: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def server_url(scheme: str, host: str, port: int) -> str:
    """The URL of a server on an address and a port."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
