"""Waiting for a database that is away or locked, in commands; servers refuse at once instead (see `circuit`)."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from phimage.waiting import NotNow, Patience

PROBE_SECONDS = 1.0
_SQLITE_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_LOCK_NOT_AVAILABLE = "55P03"
_PASSING = ("starting up", "shutting down", "too many", "recovery mode", "remaining connection slots")
_FATAL = "FATAL:"
"""How PostgreSQL begins what it answers to a connection that it refuses."""


def not_now(error: Exception) -> NotNow | None:
    """Why a transaction could not begin, if the same may work a little later; else None.

    `error` is SQLAlchemy's or a driver's.
    """
    if isinstance(error, NoConnectionFree):
        return NotNow("no connection is free")
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, sqlite3.Error):
        code = getattr(driver, "sqlite_errorcode", 0) & 0xFF  # the rest says which kind of lock it is
        return NotNow("another process is writing", locked=True) if code in _SQLITE_LOCKED else None
    if getattr(driver, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return NotNow("another transaction holds its lock", locked=True)
    reason = str(driver).strip().partition("\n")[0]
    refused = _FATAL in reason and not any(word in reason for word in _PASSING)
    # By name: the driver of PostgreSQL is imported only where it is used.
    operational = any(kind.__name__ == "OperationalError" for kind in type(driver).__mro__)
    return NotNow(reason) if operational and not refused else None


class Guard:
    """Watches a transaction on PostgreSQL: a client of it waits without end when it falls silent. A context manager.

    A long statement is no reason to give up, so a second connection is tried meanwhile. `given_up` is the failure for which
    the transaction was cut off.
    """

    def __init__(self, patience: Patience, what: str, probe: Callable[[], NotNow | None], cut: Callable[[], object]) -> None:
        """`probe` says why the database does not answer, `cut` ends all calls that wait for it."""
        self.given_up: NotNow | None = None
        self._patience = patience
        self._what = what
        self._probe = probe
        self._cut = cut
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self._over.set()

    def _run(self) -> None:
        answered_at = time.monotonic()
        pause = min(self._patience.notice, PROBE_SECONDS)
        while not self._over.wait(pause):
            failure = self._probe()
            if failure is None:
                answered_at = time.monotonic()
                continue
            silent = time.monotonic() - answered_at
            if silent >= self._patience.limit and not self._over.is_set():
                self.given_up = failure
                self._cut()
                return
            self._patience.announce(self._what, failure.reason, silent)
