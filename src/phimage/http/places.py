"""Places for work that holds memory or threads while a client reads or sends, with shares for each of its holders."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress


class NoPlace(Exception):
    """Not an error of phimage: there is no free place. `whose` names the share that is used up; empty for all places."""

    def __init__(self, whose: str) -> None:
        self.whose = whose
        super().__init__(whose)


# docs/decisions.md#places-have-shares
class Places:
    """The places of one process. Used on the event loop alone, so it needs no lock."""

    def __init__(self, total: int, shares: Mapping[str, float]) -> None:
        """`shares` are by kind of holder: 0.25 means that one of them may hold a quarter of the places, but at least one."""
        self._total = total
        self._limits = {kind: max(1, int(total * share)) for kind, share in shares.items()}
        self._taken = 0
        self._held: Counter[tuple[str, str]] = Counter()
        self._freed = asyncio.Event()

    @contextmanager
    def place(self, **holders: str) -> Iterator[None]:
        """A place for the holders, by their kinds. Raises NoPlace."""
        lacking = self._lacking(holders)
        if lacking is not None:
            raise NoPlace(lacking)
        self._taken += 1
        self._held.update(holders.items())
        try:
            yield
        finally:
            self._taken -= 1
            self._held -= Counter(holders.items())  # which also drops the holders of no place
            self._freed.set()
            self._freed = asyncio.Event()

    @asynccontextmanager
    async def place_within(self, seconds: float, **holders: str) -> AsyncIterator[None]:
        """A place, once it is free. Raises NoPlace when none becomes free in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._lacking(holders) is not None:
                    await self._freed.wait()
        with self.place(**holders):
            yield

    def _lacking(self, holders: Mapping[str, str]) -> str | None:
        """Whose share is used up, empty for all places; None if there is a place."""
        if self._taken >= self._total:
            return ""
        return next((kind for kind, holder in holders.items() if self._held[kind, holder] >= self._limits[kind]), None)
