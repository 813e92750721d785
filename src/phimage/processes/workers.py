"""The worker processes of a server: forked with a listening socket, told to end through a pipe, and reaped."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from mmap import mmap
from typing import NoReturn

from msgspec import Struct

from phimage.application import build_app
from phimage.catalog.views import View
from phimage.errors import PhimageError
from phimage.gateway.app import App
from phimage.http.counters import ConnectionCounters
from phimage.http.proxies import TrustedProxies
from phimage.metrics.process import EdgeMetrics, add_ended
from phimage.metrics.shared import SharedMetrics, WorkerSlot
from phimage.processes import http_server
from phimage.processes.connections import ConnectionLimits
from phimage.processes.http_server import HttpServer, lifespan
from phimage.processes.runtime import die_with_parent, return_freed_memory, tune_garbage_collector
from phimage.processes.tls import Tls
from phimage.settings import Settings

DRAIN_SECONDS = 10.0
"""Seconds that running requests have to end after a stop; a worker that takes longer is killed."""
RELOAD_DRAIN_SECONDS = 3600.0
"""Seconds that running requests, such as downloads, have to end after a reload."""
_MARGIN_SECONDS = 1.0
_IDLE_SECONDS = 5.0
"""Seconds without a request after which a worker of before a reload closes a connection."""
_OTHER_FILES = 384
"""Descriptors of a worker for other things than connections: files of downloads, the database, the store."""
_MIN_CONNECTIONS = 16
_STOP, _DRAIN = b"s", b"d"
_PID = struct.Struct("<i")


class Generation(Struct, eq=False):
    """What the workers of one start or reload have in common."""

    settings: Settings
    tls: Tls | None


class WorkerProcess(Struct, eq=False):
    """A worker, as the main process knows it."""

    pid: int
    generation: Generation
    slot: WorkerSlot
    control: int
    is_ready: bool = False
    is_ending: bool = False


class Workers:
    """The workers of a server. Used by its main process, which must have one thread when it forks."""

    def __init__(self, listener: socket.socket, stopping: mmap, shared_metrics: SharedMetrics) -> None:
        """`stopping`: a shared byte, 1 once the server is about to stop."""
        self._listener = listener
        self._stopping = stopping
        self._shared_metrics = shared_metrics
        self._ready_in, self._ready_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._processes: dict[int, WorkerProcess] = {}

    @property
    def ready_pipe(self) -> int:
        """A descriptor that can be read when a worker is ready."""
        return self._ready_in

    def __len__(self) -> int:
        return len(self._processes)

    def of(self, generation: Generation) -> list[WorkerProcess]:
        """The running workers of a generation that were not told to end."""
        return [each for each in self._processes.values() if each.generation is generation and not each.is_ending]

    def start(self, generation: Generation) -> None:
        """Fork a worker. Raises OSError and RuntimeError, and then leaves nothing behind."""
        slot = self._shared_metrics.claim()
        pipe: tuple[int, ...] = ()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            control_in, control_out = pipe = os.pipe()
            pid = os.fork()
        except OSError:
            for end in pipe:
                os.close(end)
            self._shared_metrics.release(slot.number, add_ended)
            raise
        if not pid:
            os.close(control_out)
            self._run(generation, slot, control_in, parent)
        os.close(control_in)
        self._processes[pid] = WorkerProcess(pid, generation, slot, control_out)

    def note_ready(self) -> None:
        """Record which workers reported that they are ready."""
        with suppress(BlockingIOError):
            while data := os.read(self._ready_in, _PID.size):
                if (process := self._processes.get(_PID.unpack(data)[0])) is not None:
                    process.is_ready = True

    def reap(self) -> Iterator[tuple[WorkerProcess, int]]:
        """Yield the workers that have ended, each with its exit code, negative for a signal."""
        for pid, process in list(self._processes.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._processes[pid]
                os.close(process.control)
                self._shared_metrics.release(process.slot.number, add_ended)
                yield process, os.waitstatus_to_exitcode(status)

    def drain(self, generation: Generation) -> None:
        """Have the workers of a generation accept no more, and end after their last request."""
        for process in self.of(generation):
            _say(process, _DRAIN)

    def stop(self) -> None:
        """Have all workers answer what was requested, and end."""
        for process in self._processes.values():
            _say(process, _STOP)

    def kill(self, generation: Generation | None = None) -> None:
        """Kill the workers of a generation, by default all."""
        for process in self._processes.values():
            if generation is None or process.generation is generation:
                process.is_ending = True
                os.kill(process.pid, signal.SIGKILL)

    def _run(self, generation: Generation, slot: WorkerSlot, control: int, parent: int) -> NoReturn:
        """The life of a worker. Its exit skips the handlers that it inherited."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the main process decides, also for signals to the whole group
            die_with_parent(parent)  # docs/decisions.md#workers-die-with-the-server
            for process in self._processes.values():
                os.close(process.control)
            code = self._work(generation, slot, control)
        except PhimageError as error:
            print(f"phimage: {error}", file=sys.stderr)  # noqa: T201  as every command does
            code = error.exit_code
        except BaseException:  # noqa: BLE001  nothing may return into the code of the main process
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def _work(self, generation: Generation, slot: WorkerSlot, control: int) -> int:
        return_freed_memory()
        settings, tls = generation.settings, generation.tls
        counters = ConnectionCounters()
        application = build_app(
            settings,
            started=lambda: os.write(self._ready_out, _PID.pack(os.getpid())),
            stopping=lambda: self._stopping[0] == 1,
            slot=slot,
            edge=EdgeMetrics(counters, tls.expires if tls else None),
        )
        tune_garbage_collector()
        http_server.run(self._serve(application, generation, counters, control))
        return 0

    async def _serve(self, application: App[View], generation: Generation, counters: ConnectionCounters, control: int) -> None:
        settings, tls = generation.settings, generation.tls
        server = HttpServer(
            application,
            _limits(settings),
            tls=tls.context if tls else None,
            counters=counters,
            is_exempt=TrustedProxies(settings.trusted_proxies).is_local_or_proxy,
            shares_listener=settings.workers > 1,
            known_responses=application.known_response,
        )
        async with lifespan(application):
            server.start(self._listener)
            await _serve_until_told(server, control)


async def _serve_until_told(server: HttpServer, control: int) -> None:
    commands: asyncio.Queue[bytes] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(control, lambda: commands.put_nowait(os.read(control, 1)))
    if await commands.get() == _DRAIN:
        draining = asyncio.ensure_future(server.stop(RELOAD_DRAIN_SECONDS, idle=_IDLE_SECONDS))
        stopping = asyncio.ensure_future(commands.get())
        await asyncio.wait([draining, stopping], return_when=asyncio.FIRST_COMPLETED)
        if draining.done():
            return
        draining.cancel()
    await server.stop(DRAIN_SECONDS - _MARGIN_SECONDS)


def _limits(settings: Settings) -> ConnectionLimits:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = settings.max_connections
    if files != resource.RLIM_INFINITY:
        connections = max(_MIN_CONNECTIONS, min(connections, files - _OTHER_FILES))
    return ConnectionLimits(
        header=settings.header_seconds,
        idle=settings.idle_seconds,
        connections=connections,
        per_address=settings.max_connections_per_address,
    )


def _say(process: WorkerProcess, command: bytes) -> None:
    process.is_ending = True
    with suppress(BrokenPipeError):  # it has just ended
        os.write(process.control, command)
