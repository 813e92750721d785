"""Progress, rate and time left."""

from __future__ import annotations

import pytest

from phimage.sources.progress import Meter, TransferProgress


def metered(steps: list[tuple[float, int]], total: int | None = 1000) -> list[TransferProgress]:
    text: list[TransferProgress] = []
    times = iter([time for time, _ in steps])
    meter = Meter(text.append, lambda: next(times))
    for _, done in steps:
        meter.update(done, total)
    return text


def test_reports_come_four_times_a_second_at_most() -> None:
    assert [report.done for report in metered([(0.01 * n, n) for n in range(101)])] == [25, 50, 75, 100]


def test_a_report_has_the_rate_of_late_and_the_time_left() -> None:
    assert metered([(0, 0), (1, 100), (2, 300)])[-1] == TransferProgress(300, 1000, 150.0)
    assert metered([(0, 0), (1, 100), (2, 300)])[-1].left == pytest.approx(700 / 150)


def test_bytes_that_were_here_before_do_not_count_for_the_rate() -> None:
    assert metered([(0, 500), (1, 600)])[-1].rate == 100.0


def test_a_beginning_from_zero_begins_the_rate_anew() -> None:
    assert metered([(0, 0), (1, 900), (2, 10), (3, 20)])[-1] == TransferProgress(20, 1000, 10.0)


def test_old_rates_are_forgotten() -> None:
    steps = [(float(second), min(second, 10) * 1000 + max(0, second - 10)) for second in range(31)]
    assert metered(steps, None)[-1].rate == pytest.approx(1.0)


def test_nobody_knows_the_time_left_of_an_unknown_size_or_of_nothing() -> None:
    assert TransferProgress(10, None, 5.0).left is None
    assert TransferProgress(10, 100, 0.0).left is None
    assert TransferProgress(100, 100, 5.0).left == 0


def test_without_a_listener_the_clock_is_not_asked() -> None:
    meter = Meter(None, lambda: pytest.fail("asked"))
    meter.update(1, 2)
    meter.finish(2, 2)
