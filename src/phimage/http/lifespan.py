"""The life of the application in one process: what runs in the background while it serves, and the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from msgspec import Struct

from phimage.errors import ServiceUnavailable
from phimage.event_log import log
from phimage.http.asgi import Receive, Send
from phimage.http.freshness import Freshness


class PeriodicTask(Struct, frozen=True):
    """A periodic task: runs in a thread, `every` seconds after its previous run ended.

    `run` may block. An error ends that run alone, and is logged unless it is ServiceUnavailable.
    """

    every: float
    run: Callable[[], object]


class Lifespan:
    """Handles the lifespan events of ASGI."""

    def __init__(
        self,
        watches: Iterable[Freshness],
        periodic_tasks: Iterable[PeriodicTask],
        background: Iterable[Callable[[], Coroutine[Any, Any, None]]],
        threads: Executor,
        started: Callable[[], object],
        stopped: Callable[[], object],
    ) -> None:
        """`background` coroutines run until cancelled; `threads` run the periodic tasks.

        `started` is called when requests can come. At the end everything is cancelled, the watches are closed, the threads
        shut down, and `stopped` is called, in this order.
        """
        self._watches = tuple(watches)
        self._periodic_tasks = tuple(periodic_tasks)
        self._background = tuple(background)
        self._threads = threads
        self._started = started
        self._stopped = stopped
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, receive: Receive, send: Send) -> None:
        """Start at the event of startup, end at that of shutdown."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._tasks = [asyncio.create_task(watch.run()) for watch in self._watches]
                self._tasks += [asyncio.create_task(self._repeat(task)) for task in self._periodic_tasks]
                self._tasks += [asyncio.create_task(run()) for run in self._background]
                await send({"type": "lifespan.startup.complete"})
                self._started()
            elif message["type"] == "lifespan.shutdown":
                await self._end()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.end_threads()

    def end_threads(self) -> None:
        """The end without the tasks, which is all of it for an application whose startup was never requested."""
        for watch in self._watches:
            watch.close()
        self._threads.shutdown()
        self._stopped()

    async def _repeat(self, task: PeriodicTask) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(task.every)
            try:
                with suppress(ServiceUnavailable):  # Freshness logs that the database is away
                    await loop.run_in_executor(self._threads, task.run)
            except Exception as error:  # noqa: BLE001  a defect, or no descriptor is left: the next run may succeed
                log.exception("periodic_task.failed", error)
