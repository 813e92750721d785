"""Work in several threads that ends as a whole: at the first error, at Ctrl-C, or when an order is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

_TICK_SECONDS = 0.2


class CrewStopped(Exception):
    """The work was ended from elsewhere, where the reason is known."""


class Crew:
    """Threads that work on many items, a few at a time, and how they are stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Let all work end soon."""
        self._stopped.set()

    def check(self) -> None:
        """Raises CrewStopped once the work must end."""
        if self._stopped.is_set():
            raise CrewStopped

    def pause(self, seconds: float) -> None:
        """Wait, unless the work must end. Raises CrewStopped."""
        if self._stopped.wait(seconds):
            raise CrewStopped

    def work(
        self, items: Iterable[Item], task: Callable[[Item], Iterator[object]], threads: int, tick: Callable[[], object]
    ) -> None:
        """Run a task for each item, in some threads.

        `tick` is called several times a second, and at the end, in the caller's thread.

        A task is a generator, which may be ended between its steps. The first error of a task, of `items` or of `tick` stops
        all, for good, and is raised when every thread has ended.
        """
        left = iter(items)
        started = [threading.Thread(target=self._run, args=(left, task), daemon=True) for _ in range(threads)]
        try:
            for thread in started:
                thread.start()
            for thread in started:
                while thread.is_alive():
                    thread.join(_TICK_SECONDS)
                    tick()
        except BaseException:
            self.stop()
            for thread in started:
                if thread.ident is not None:
                    thread.join()
            raise
        if self._error is not None:
            raise self._error
        tick()

    def _run(self, left: Iterator[Any], task: Callable[[Any], Iterator[object]]) -> None:
        try:
            while not self._stopped.is_set():
                with self._lock:
                    item = next(left, None)
                if item is None:
                    return
                for _ in task(item):
                    self.check()
        except CrewStopped:
            pass
        except BaseException as error:  # noqa: BLE001  raised in the caller's thread
            with self._lock:
                self._error = self._error or error
            self.stop()
