"""A time limit for calls that nothing can interrupt, such as name resolution."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final, TypeVar

Result = TypeVar("Result")

TICK: Final = 0.25


def within(seconds: float, cancel: threading.Event, call: Callable[[], Result]) -> Result:
    """Return what `call` returns, or raise what it raises. Raises TimeoutError after `seconds`, or when `cancel` is set.

    The call runs in a thread of its own, which is abandoned then and ends whenever the call does.
    """
    found = Future[Result]()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            found.set_exception(error)

    threading.Thread(target=run, name="source-call", daemon=True).start()
    end = time.monotonic() + seconds
    while not cancel.is_set() and time.monotonic() < end:
        if wait([found], TICK).done:
            return found.result()
    raise TimeoutError
