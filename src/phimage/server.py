"""Running the HTTP server: one socket, worker processes, and word when all of them answer."""

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

from phimage.bootstrap import build_app
from phimage.catalog.views import View
from phimage.errors import SetupError
from phimage.gateway.app import App
from phimage.metrics.shared import SharedMetrics
from phimage.process import collect_seldom, die_with_parent, give_memory_back
from phimage.publishers import Publishers
from phimage.settings import Settings

DRAIN_SECONDS = 10

Found = TypeVar("Found")


def serve(settings: Settings, prepare: Callable[[Settings], Found], listening: Callable[[str, Found], bool]) -> None:
    """Serve until SIGINT or SIGTERM.

    `prepare` makes what is missing of the installation, once the port is known to be free. `listening` runs in a thread, once
    every worker answers, with the address and what `prepare` returned; it says whether to go on.

    Raises SetupError when the address is in use.
    """
    with _reserved_port(settings.host, settings.port) as port:
        found = prepare(settings)
        _serve(settings, port, lambda url: listening(url, found))


def _serve(settings: Settings, port: int, listening: Callable[[str], bool]) -> None:
    ready, tell = os.pipe()
    stopping = mmap(-1, 1)  # one byte that the workers share with this process
    server = Server(
        "phimage",
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        websockets=False,
        # Not pipeline_flush: with it the server takes a whole body into memory for a client that does not read.
        http1_settings=HTTP1Settings(keep_alive=True),
        log_level=LogLevels.warning,
        workers_kill_timeout=DRAIN_SECONDS,
    )

    def interrupt(*_: object) -> None:
        """Begin to end; at once when asked for the second time."""
        wait = settings.shutdown_delay_seconds if stopping[0] == 0 else 0.0
        stopping[0] = 1  # from here on /readyz says 503
        if wait:
            later = threading.Timer(wait, end)
            later.daemon = True  # whoever asks again does not wait for it
            later.start()
        else:
            end()

    def end() -> None:
        server.interrupt_signal = True
        server.main_loop_interrupt.set()

    server.signal_handler_interrupt = interrupt  # type: ignore[method-assign]  # what SIGINT and SIGTERM call

    def tell_when_ready() -> None:
        _wait_until_ready(ready, settings.workers, (settings.host, port))
        publishers.start()  # not before: they would take the time of those who answer
        telling.set()
        if not listening(_url(settings.host, port)):
            # Not by a signal to ourselves: its handler takes a lock that the main thread may hold as it begins to wait.
            interrupt()

    shares = SharedMetrics(settings.workers, settings.publishers)
    publishers = Publishers(settings, shares)
    telling = threading.Event()
    teller = threading.Thread(target=tell_when_ready, daemon=True)
    teller.start()
    try:
        worker = functools.partial(_worker, settings, tell, stopping, shares, os.getpid())
        server.serve(target_loader=worker, wrap_loader=False)
    finally:
        publishers.stop()
        if telling.is_set():
            teller.join(DRAIN_SECONDS)  # a thread that prints while the interpreter ends takes it down


def _wait_until_ready(ready: int, workers: int, address: tuple[str, int]) -> None:
    for _ in range(workers):
        os.read(ready, 1)
    while not _connects(address):  # a worker is ready a moment before its socket listens
        time.sleep(0.01)


def _connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def _worker(settings: Settings, tell: int, stopping: mmap, shares: SharedMetrics, parent: int) -> App[View]:
    """Runs in each worker process: the application, which says when it has started."""
    die_with_parent(parent)  # or it would go on answering beside the next server
    give_memory_back()
    app = build_app(settings, started=lambda: os.write(tell, b"."), stopping=lambda: stopping[0] == 1, shares=shares)
    collect_seldom()
    return app


@contextmanager
def _reserved_port(host: str, port: int) -> Iterator[int]:
    """The port, or for 0 a free one, kept from other processes until the workers listen. Raises SetupError.

    Workers share their port (SO_REUSEPORT) and would not notice another server on it, so a socket that does not share it looks
    first. Then one that does, and never listens, keeps it.
    """
    try:
        if port:
            with closing(_bound(host, port, socket.SO_REUSEADDR)) as probe:
                probe.listen(1)
        reservation = _bound(host, port, socket.SO_REUSEPORT)
    except OSError as error:
        raise SetupError(f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port") from None
    with closing(reservation):
        yield reservation.getsockname()[1]


def _bound(host: str, port: int, option: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, option, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
