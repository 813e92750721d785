"""The HTTP server: one port, worker processes, and a callback when all of them accept requests."""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from mmap import mmap
from typing import TypeVar

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from phimage.application import build_app
from phimage.catalog.views import View
from phimage.errors import SetupError
from phimage.gateway.app import App
from phimage.metrics.shared import SharedMetrics
from phimage.processes.publishers import Publishers
from phimage.processes.runtime import configure_log, die_with_parent, return_freed_memory, tune_garbage_collector
from phimage.settings import Settings

DRAIN_SECONDS = 10
"""Seconds that running requests have to end after a stop."""

Prepared = TypeVar("Prepared")


def serve(settings: Settings, prepare: Callable[[Settings], Prepared], on_ready: Callable[[str, Prepared], bool]) -> None:
    """Serve until SIGINT or SIGTERM.

    Calls `prepare` once the port is reserved. Calls `on_ready` in a thread once all workers accept requests, with the address
    and the result of `prepare`; the server stops if it returns False. Raises SetupError if the port is in use.
    """
    with _reserved_port(settings.host, settings.port) as port:
        prepared = prepare(settings)
        _serve(settings, port, lambda url: on_ready(url, prepared))


def _serve(settings: Settings, port: int, on_ready: Callable[[str], bool]) -> None:
    ready_in, ready_out = os.pipe()
    stopping = mmap(-1, 1)  # one byte, shared with the workers
    server = Server(
        "phimage",
        address=settings.host,
        port=port,
        # docs/decisions.md#the-server-interface-is-asgi
        interface=Interfaces.ASGI,
        workers=settings.workers,
        websockets=False,
        # Not pipeline_flush: it buffers a whole body in memory for a client that does not read.
        http1_settings=HTTP1Settings(keep_alive=True),
        log_level=LogLevels.warning,
        workers_kill_timeout=DRAIN_SECONDS,
    )

    def interrupt(*_: object) -> None:
        """Begin the shutdown; the second signal skips its delay."""
        wait = settings.shutdown_delay_seconds if stopping[0] == 0 else 0.0
        stopping[0] = 1  # from now on /readyz answers 503
        if wait:
            timer = threading.Timer(wait, end)
            timer.daemon = True  # must not delay the exit after a second signal
            timer.start()
        else:
            end()

    def end() -> None:
        server.interrupt_signal = True
        server.main_loop_interrupt.set()

    server.signal_handler_interrupt = interrupt  # type: ignore[method-assign]  # the handler of SIGINT and SIGTERM

    def call_when_ready() -> None:
        _wait_until_ready(ready_in, settings.workers, (settings.host, port))
        publishers.start()  # not earlier: they would compete with the starting workers
        is_calling.set()
        if not on_ready(_url(settings.host, port)):
            # Not by a signal: its handler takes a lock that the main thread may hold when it begins to wait.
            interrupt()

    shared_metrics = SharedMetrics(settings.workers, settings.publishers)
    publishers = Publishers(settings, shared_metrics)
    is_calling = threading.Event()
    caller = threading.Thread(target=call_when_ready, daemon=True)
    caller.start()
    try:
        worker = functools.partial(_worker, settings, ready_out, stopping, shared_metrics, os.getpid())
        server.serve(target_loader=worker, wrap_loader=False)
    finally:
        publishers.stop()
        if is_calling.is_set():
            caller.join(DRAIN_SECONDS)  # printing while the interpreter ends crashes it


def _wait_until_ready(ready_in: int, workers: int, address: tuple[str, int]) -> None:
    for _ in range(workers):
        os.read(ready_in, 1)
    while not _connects(address):  # a worker reports just before its socket listens
        time.sleep(0.01)


def _connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def _worker(settings: Settings, ready_out: int, stopping: mmap, shared_metrics: SharedMetrics, parent: int) -> App[View]:
    """The application of a worker process. Writes a byte to `ready_out` when it accepts requests."""
    die_with_parent(parent)  # or it would answer beside the next server
    return_freed_memory()
    configure_log()
    app = build_app(
        settings, started=lambda: os.write(ready_out, b"."), stopping=lambda: stopping[0] == 1, shared_metrics=shared_metrics
    )
    tune_garbage_collector()
    return app


@contextmanager
def _reserved_port(host: str, port: int) -> Iterator[int]:
    """Reserve the port, or any free one for 0, until the workers listen. Raises SetupError.

    Workers share their port (SO_REUSEPORT) and would not notice another server on it. So a socket without this option probes
    the port first; then one with it, which never listens, reserves the port.
    """
    try:
        if port:
            with closing(_bound(host, port, socket.SO_REUSEADDR)) as probe:
                probe.listen(1)
        reservation = _bound(host, port, socket.SO_REUSEPORT)
    except OSError as error:
        raise SetupError(f"cannot listen on {host} port {port}: {error.strerror}; choose another port with --port") from None
    with closing(reservation):
        yield reservation.getsockname()[1]


def _bound(host: str, port: int, option: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
