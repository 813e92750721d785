"""The measure of CPU time: a loop, which takes 9 ms where other numbers in these tests were measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def loop_seconds() -> float:
    """The CPU time of the loop, here and now."""
    began = time.process_time()
    sum(number * number for number in range(300_000))
    return time.process_time() - began


def in_loops(step: Callable[[], float], rounds: int) -> float:
    """The CPU seconds that a step returns, in those of the loop.

    The middle of several rounds, each with a loop before and after the step: what else the machine does slows both.
    """

    def once() -> float:
        before, taken, after = loop_seconds(), step(), loop_seconds()
        return taken / statistics.mean((before, after))

    return statistics.median(once() for _ in range(rounds))


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and all its threads, exact to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)
