"""What runs in the background goes on until the end."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from phimage.errors import ServiceUnavailable
from phimage.http.lifespan import Lifespan, PeriodicTask


@pytest.mark.parametrize("error", [ServiceUnavailable(detail="away"), OSError(24, "Too many open files"), KeyError("a defect")])
def test_an_error_ends_one_run_of_a_periodic_task_and_neither_the_others_nor_the_shutdown(error: Exception) -> None:
    ran_again, runs, ended = threading.Event(), [error], list[str]()

    def run() -> None:
        if runs:
            raise runs.pop()
        ran_again.set()

    async def live() -> bool:
        events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        answers: asyncio.Queue[object] = asyncio.Queue()
        threads = ThreadPoolExecutor(1)
        lifespan = Lifespan((), [PeriodicTask(0, run)], (), threads, lambda: None, lambda: ended.append("stopped"))
        life = asyncio.create_task(lifespan.run(events.get, answers.put))
        events.put_nowait({"type": "lifespan.startup"})
        found = await asyncio.to_thread(ran_again.wait, 10)
        events.put_nowait({"type": "lifespan.shutdown"})
        await life
        return found

    assert asyncio.run(live())
    assert ended == ["stopped"]
