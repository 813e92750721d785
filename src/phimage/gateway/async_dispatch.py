"""The dispatcher on the event loop: when a request waits for the database, and when for a new revision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from phimage.errors import LongPoll, NotCached, RequestError, ServiceUnavailable
from phimage.gateway.dispatch import Attempt, Dispatcher, RawRequest, View
from phimage.gateway.envelope import RawResponse
from phimage.gateway.registry import SMALL_BODY

Result = TypeVar("Result")

LARGE_BODY = 8 * 1024
"""A body of more bytes takes milliseconds to parse. Such requests take turns, so that small ones run between them."""
MAX_FETCHES = 4
"""Fetches for one request before it goes to a thread. A list needs two."""
STOPPING_SECONDS = 0.25
"""Seconds between checks whether the server stops."""


class AsyncDispatcher(Generic[View]):
    """Answers a request from caches and single statements on the event loop if possible, else in a thread.

    An Action that raises LongPoll is tried again at each new revision, until its time is over or the server stops.
    """

    def __init__(self, dispatcher: Dispatcher[View, Any], threads: Executor, stopping: Callable[[], bool]) -> None:
        """`threads` run the attempts that block; `stopping` returns whether the server is about to stop."""
        self._dispatcher = dispatcher
        self._threads = threads
        self._stopping = stopping
        self._loop: asyncio.AbstractEventLoop | None = None
        self._new_revision = asyncio.Event()
        self._turn = asyncio.Lock()

    async def refuse_large(self, raw: RawRequest, attempt: Attempt) -> RequestError | None:
        """See `Dispatcher.refuse_large`."""
        return await self._try(self._dispatcher.refuse_large, raw, attempt)

    async def answer(self, raw: RawRequest, attempt: Attempt) -> RawResponse:
        """The response to a request."""
        if self._loop is None:  # nobody asked for the startup of this application: `run` does not run
            self._loop = asyncio.get_running_loop()
        deadline: float | None = None
        while True:
            new_revision = self._new_revision  # before the attempt, so that no revision is missed after it
            try:
                return await self._try(self._dispatcher.answer, raw, attempt)
            except LongPoll as long_poll:
                deadline = deadline or asyncio.get_running_loop().time() + long_poll.seconds
                try:
                    async with asyncio.timeout_at(deadline):
                        await new_revision.wait()
                except TimeoutError:
                    attempt.patient = False
                if self._stopping():
                    attempt.patient = False

    def notify_revision(self) -> None:
        """Wake the requests that wait for a new revision. Can be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def run(self) -> None:
        """Accept notifications, and wake all waiting requests when the server stops. Runs until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(STOPPING_SECONDS)
                if self._stopping():
                    self._wake()
        finally:
            self._loop = None

    # docs/decisions.md#large-bodies-take-turns
    async def _try(self, step: Callable[[RawRequest, Attempt], Result], raw: RawRequest, attempt: Attempt) -> Result:
        if len(raw.body) <= LARGE_BODY:
            return await self._try_at_once(step, raw, attempt)
        async with self._turn:
            await asyncio.sleep(0)  # without a pause, all that have arrived would run before the loop looks for others
            return await self._try_at_once(step, raw, attempt)

    async def _try_at_once(self, step: Callable[[RawRequest, Attempt], Result], raw: RawRequest, attempt: Attempt) -> Result:
        attempt.wait = False
        for _ in range(MAX_FETCHES if len(raw.body) <= SMALL_BODY else 0):  # large bodies are parsed in a thread
            try:
                return step(raw, attempt)
            except NotCached as missing:
                fetch = missing.fetch
            if fetch is None or not await _fetched(fetch):
                break
        attempt.wait = True
        return await asyncio.get_running_loop().run_in_executor(self._threads, step, raw, attempt)

    def _wake(self) -> None:
        self._new_revision, old = asyncio.Event(), self._new_revision
        old.set()


async def _fetched(fetch: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await fetch()
    except (NotCached, ServiceUnavailable):  # the attempt in a thread meets the same error and answers with it
        return False
