"""Processor time and memory of processes that run, as the kernel counts them."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

_TICKS = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.02


class Peak(Struct):
    """The most memory that a process had, in MB; of several, the largest."""

    megabytes: float = 0.0


def children(pid: int) -> list[int]:
    """The running children of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def worker(pid: int) -> int:
    """The worker of a server that has one."""
    return next(child for child in children(pid) if not is_publisher(child))


def publisher(pid: int) -> int:
    """The publisher of a server that has one."""
    return next(child for child in children(pid) if is_publisher(child))


def is_publisher(pid: int) -> bool:
    """Whether a process is a publisher of phimage."""
    return b"publisher" in Path(f"/proc/{pid}/cmdline").read_bytes()


def processor_seconds(pid: int) -> float:
    """Of a process, of its children that have ended, and of those that run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS + sum(processor_seconds(child) for child in children(pid))


def ended_seconds() -> float:
    """Of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def megabytes(pid: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def peak(pid: int) -> Iterator[Peak]:
    """The peak memory of a process while the block runs, as its high-water mark says, which is set back at the start."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    found, ended = Peak(), threading.Event()

    def watch() -> None:  # the mark ends with the process
        while not ended.wait(_POLL_SECONDS):
            found.megabytes = max(found.megabytes, _mark(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found.megabytes = max(found.megabytes, _mark(pid))


def _mark(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024 / 1e6
