"""How fresh a process's knowledge of a source is, such as of the database, and how it is kept so.

The bound: a response without `X-Phimage-Age` contains every change that was committed more than STALE_SECONDS before its
request arrived.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from phimage.errors import ServiceUnavailable
from phimage.event_log import log

# docs/decisions.md#processes-poll-four-times-a-second
REFRESH_SECONDS = 0.25
STALE_SECONDS = 1.0
"""Older knowledge is refreshed before a response, or the response states its age."""
CUT_SECONDS = 5.0
"""Calls that wait for the source are cut when no refresh succeeded for this long."""


class WatchedSource(Struct, frozen=True):
    """A source and how to watch it. `refresh` runs in a thread, may block and raise ServiceUnavailable; the others never block.

    `lose` records that the source counts as away, with the reason; `lost` returns whether it does. `cut` aborts all calls that
    wait for the source.
    """

    name: str
    refresh: Callable[[], object]
    lose: Callable[[str], object] = lambda reason: None
    lost: Callable[[], bool] = lambda: False
    cut: Callable[[], object] = lambda: None


class Freshness:
    """Refreshes a source periodically and knows the age of the last refresh. Construct it right after a first read.

    All methods but `age` and `reason` must be called on the event loop.
    """

    def __init__(
        self,
        source: WatchedSource,
        every: float = REFRESH_SECONDS,
        patience: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`every`: seconds between refreshes. `patience`: seconds after which a refresh makes the source count as away."""
        self._source = source
        self._every = every
        self._patience = patience
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"watch-{source.name}")
        self._refreshed_at = clock()
        self._started_at = 0.0
        self._running: asyncio.Future[object] | None = None
        self._reason = "not refreshed yet"
        self._logged_away = False

    def age(self) -> float:
        """Seconds since the knowledge was certainly current."""
        return self._clock() - self._refreshed_at

    @property
    def reason(self) -> str:
        """Why the source counts as away; empty when it does not."""
        return self._reason

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._every)

    async def refresh(self) -> None:
        """Refresh, sharing one that is running. Returns after `patience` at the latest; the source then counts as away."""
        running = self._running or self._start()
        done, _ = await asyncio.wait([running], timeout=self._patience)
        silent = self._clock() - self._started_at
        if not done and self._running is running:
            self._away(f"the {self._source.name} has not answered for {silent:.0f} s")
            self._source.lose(self._reason)

    async def staleness(self) -> float | None:
        """The age in seconds to state in a response; None for knowledge within the bound. Refreshes first if needed."""
        if self.age() > STALE_SECONDS and not self._source.lost():
            await self.refresh()
        age = self.age()
        return age if age > STALE_SECONDS else None

    def close(self) -> None:
        """End. Cuts a running refresh and does not wait for it: the source may be closed beside it."""
        if self._running is not None:
            self._source.cut()
        self._thread.shutdown(wait=False)

    def _start(self) -> asyncio.Future[object]:
        self._started_at = self._clock()
        self._running = future = asyncio.get_running_loop().run_in_executor(self._thread, self._source.refresh)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: asyncio.Future[object]) -> None:
        self._running = None
        error = None if future.cancelled() else future.exception()
        if isinstance(error, ServiceUnavailable):
            self._away(error.detail)
        elif error is not None:
            log.exception("refresh.failed", error, source=self._source.name)
            self._away("an error inside phimage; see its log")
        elif not future.cancelled():
            self._refreshed_at = self._started_at
            if self._logged_away:
                log.warning(f"{self._source.name}.back")
            self._reason, self._logged_away = "", False

    def _away(self, reason: str) -> None:
        self._reason = reason
        if not self._logged_away:
            log.warning(f"{self._source.name}.away", reason=reason)
        self._logged_away = True
        if self.age() > CUT_SECONDS:
            self._source.cut()


class AlwaysFresh(Freshness):
    """The freshness of a source that this process alone writes: its knowledge is current, and nothing is refreshed."""

    def age(self) -> float:
        """See Freshness."""
        return 0.0

    @property
    def reason(self) -> str:
        """See Freshness."""
        return ""

    async def run(self) -> None:
        """See Freshness."""

    async def refresh(self) -> None:
        """See Freshness."""
