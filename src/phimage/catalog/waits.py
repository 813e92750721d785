"""Retries of commands while a database is away or locked. Servers fail at once instead (see `circuit`)."""

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
"""The beginning of PostgreSQL's answer to a refused connection."""


def not_now(error: Exception) -> NotNow | None:
    """Why a transaction could not begin, if a retry may succeed; else None. `error` is SQLAlchemy's or a driver's."""
    if isinstance(error, NoConnectionFree):
        return NotNow("no connection is free")
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, sqlite3.Error):
        code = getattr(driver, "sqlite_errorcode", 0) & 0xFF  # the higher bits are the kind of lock
        return NotNow("another process is writing", locked=True) if code in _SQLITE_LOCKED else None
    if getattr(driver, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
        return NotNow("another transaction holds its lock", locked=True)
    reason = str(driver).strip().partition("\n")[0]
    refused = _FATAL in reason and not any(word in reason for word in _PASSING)
    # By name, to avoid importing the PostgreSQL driver.
    operational = any(kind.__name__ == "OperationalError" for kind in type(driver).__mro__)
    return NotNow(reason) if operational and not refused else None


class Guard:
    """A context manager that cuts off a transaction when PostgreSQL falls silent: libpq has no timeout of its own.

    A long statement is not silence, so the guard probes with a second connection. `given_up` is the failure for which it cut
    off the transaction.
    """

    def __init__(self, patience: Patience, what: str, probe: Callable[[], NotNow | None], cut: Callable[[], object]) -> None:
        """`probe` returns why the database does not answer, `cut` fails all calls that wait for it."""
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
