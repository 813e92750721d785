"""The hold of a running backup: extended while it works, released when it ends, expired when it was killed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from phimage.backup.errors import BackupFailed
from phimage.catalog import holds
from phimage.catalog.views import Catalog
from phimage.errors import ServiceUnavailable

HOLD_SECONDS: Final = 4 * 3600.0
"""How long the hold of a killed backup keeps collections from removing what it was to copy."""


class HeldRevision:
    """A context manager: the newest revision is held inside. Call `keep` now and then."""

    def __init__(self, catalog: Catalog, id: str, now: Callable[[], float]) -> None:
        self._catalog = catalog
        self._id = id
        self._now = now
        self._expires = 0.0

    def keep(self) -> None:
        """Extend the hold when a quarter of it has passed.

        Raises BackupFailed when it has expired, as after a machine slept: a collection may have removed what was to be copied.
        A database that is away for a while does no harm: the next call tries again.
        """
        now = self._now()
        if self._expires - now > HOLD_SECONDS * 3 / 4:
            return
        try:
            self._catalog.refresh()  # a database that was away counts as away until it is tried
            extended = holds.extend(self._catalog.database, self._id, now=now, seconds=HOLD_SECONDS)
        except ServiceUnavailable:
            if now < self._expires:
                return
            raise
        if not extended:
            raise BackupFailed("the hold on collection expired while the backup was made: run the backup again, which goes on")
        self._expires = now + HOLD_SECONDS

    def __enter__(self) -> Self:
        hold = holds.add(self._catalog.database, self._id, "backup", now=self._now(), seconds=HOLD_SECONDS)
        self._expires = hold.expires
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(ServiceUnavailable):  # else it expires
            holds.release(self._catalog.database, self._id)
