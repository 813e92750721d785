from __future__ import annotations

import io
from collections.abc import Callable

from phimage.agent.progress_line import ProgressLine
from tests.deploying import MIB


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock(*times: float) -> Callable[[], float]:
    left = iter(times)
    return lambda: next(left)


def test_a_log_gets_a_line_every_ten_seconds_with_rate_and_time_left() -> None:
    log = io.StringIO()
    line = ProgressLine(log, clock(0, 1, 9, 10, 12, 20))
    for done in (0, 10, 90, 100, 120, 200):
        line.show("write", done * MIB, 3800 * MIB)
    assert log.getvalue().splitlines() == [
        "write        0 % of 3.7 GiB",
        "write        2 % of 3.7 GiB, 10.0 MiB/s, 0:06:10 left",
        "write        5 % of 3.7 GiB, 10.0 MiB/s, 0:06:00 left",
    ]


def test_each_phase_begins_and_ends_with_a_line() -> None:
    log = io.StringIO()
    line = ProgressLine(log, clock(*range(6)))
    for phase, done in (("zero", 0), ("zero", 5), ("zero", 5), ("write", 0), ("write", 1), ("write", 5)):
        line.show(phase, done, 5)
    assert [text.split(" % ")[0].split() for text in log.getvalue().splitlines()] == [
        ["zero", "0"],
        ["zero", "100"],
        ["write", "0"],
        ["write", "100"],
    ]


def test_a_terminal_has_one_line_that_changes() -> None:
    screen = Terminal()
    line = ProgressLine(screen, clock(0, 1, 2, 3))
    for done in (0, 1, 2):
        line.show("write", done * MIB, 4 * MIB)
    line.end()
    assert screen.getvalue().count("\r\x1b[K") == 3
    assert screen.getvalue().endswith("50 % of 4.0 MiB, 1.0 MiB/s, 0:00:02 left\n")
