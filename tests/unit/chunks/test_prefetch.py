from __future__ import annotations

import threading
import time

import pytest

from phimage.chunks.prefetch import prefetch


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
def test_results_come_in_order(limit: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * 2

    assert list(prefetch(work, range(20), limit)) == [number * 2 for number in range(20)]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_an_error_comes_where_its_result_would_have_come(limit: int) -> None:
    results: list[int] = []
    with pytest.raises(ZeroDivisionError):
        results.extend(prefetch(lambda number: 10 // number, [5, 2, 0, 1], limit))

    found = []
    for result in prefetch(lambda number: 10 // number, [5, 2, 1], limit):
        found.append(result)
    assert found == [2, 5, 10]


def test_no_more_than_that_is_done_ahead() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    results = prefetch(work, range(100), 4)
    assert begun == []
    for expected in range(10):
        assert next(results) == expected
        assert len(begun) <= expected + 4
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 14
