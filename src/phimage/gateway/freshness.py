"""Keeping what a process knows fresh, and saying how old it is when that cannot be done.

An answer without `X-Phimage-Age` has in it every change that was committed more than STALE_SECONDS before the request came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from msgspec import Struct

from phimage.errors import ServiceUnavailable

log = structlog.get_logger()

REFRESH_SECONDS = 0.25
STALE_SECONDS = 1.0
"""The bound: knowledge that is older is refreshed before anyone is answered, or the answer tells its age."""
CUT_SECONDS = 5.0
"""How long no refresh may succeed before the calls that wait for the source are ended."""


class Source(Struct, frozen=True):
    """What is watched. `refresh` may wait, in a thread, and raises ServiceUnavailable; the others return at once.

    `lose` is told why the source counts as away, `lost` says whether it does, `cut` ends all calls that wait for it,
    if `ends_when_cut` at once.
    """

    name: str
    refresh: Callable[[], object]
    lose: Callable[[str], object] = lambda reason: None
    lost: Callable[[], bool] = lambda: False
    cut: Callable[[], object] = lambda: None
    ends_when_cut: bool = False


class Freshness:
    """Refreshes again and again, and knows how old what it has is. Made right after its source was first read.

    Everything but `age` and `reason` belongs to the event loop.
    """

    def __init__(
        self,
        source: Source,
        every: float = REFRESH_SECONDS,
        patience: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._every = every
        self._patience = patience
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"watch-{source.name}")
        self._known_at = clock()
        self._begun = 0.0
        self._under_way: asyncio.Future[object] | None = None
        self._reason = "not asked yet"
        self._told_away = False

    def age(self) -> float:
        """Seconds since there was nothing newer, for certain."""
        return self._clock() - self._known_at

    @property
    def reason(self) -> str:
        """Why the source counts as away; empty when it does not."""
        return self._reason

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(self._every)

    async def catch_up(self) -> None:
        """Refresh, together with whoever else wants it now; when that takes too long, call the source away and go on."""
        call = self._under_way or self._start()
        done, _ = await asyncio.wait([call], timeout=self._patience)
        silent = self._clock() - self._begun
        if not done and self._under_way is call:
            self._away(f"the {self._source.name} has not answered for {silent:.0f} s")
            self._source.lose(self._reason)

    async def staleness(self) -> float | None:
        """Before an answer: None when it will be as fresh as promised, else the age of what it will be made of, in seconds."""
        if self.age() > STALE_SECONDS and not self._source.lost():
            await self.catch_up()
        age = self.age()
        return age if age > STALE_SECONDS else None

    def close(self) -> None:
        """End. A refresh that is under way is cut, and waited for where that ends it: what it uses is closed next."""
        if self._under_way is not None:
            self._source.cut()
        self._thread.shutdown(wait=self._source.ends_when_cut)

    def _start(self) -> asyncio.Future[object]:
        self._begun = self._clock()
        self._under_way = call = asyncio.get_running_loop().run_in_executor(self._thread, self._source.refresh)
        call.add_done_callback(self._ended)
        return call

    def _ended(self, call: asyncio.Future[object]) -> None:
        self._under_way = None
        error = None if call.cancelled() else call.exception()
        if isinstance(error, ServiceUnavailable):
            self._away(error.detail)
        elif error is not None:
            log.error("refresh.failed", source=self._source.name, exc_info=error)
            self._away("an error inside phimage; its log has it")
        elif not call.cancelled():
            self._known_at = self._begun
            if self._told_away:
                log.warning(f"{self._source.name}.back")
            self._reason, self._told_away = "", False

    def _away(self, reason: str) -> None:
        self._reason = reason
        if not self._told_away:
            log.warning(f"{self._source.name}.away", reason=reason)
        self._told_away = True
        if self.age() > CUT_SECONDS:
            self._source.cut()
