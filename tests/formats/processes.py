"""Which processes there are, from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _status(pid)[0] not in ("", "Z")


def gone(*pids: int, within: float = 60) -> bool:
    """Whether killed processes are gone, after a moment for the kernel."""
    ends = time.monotonic() + within
    while any(alive(pid) for pid in pids) and time.monotonic() < ends:
        time.sleep(0.02)
    return not any(alive(pid) for pid in pids)


def begun_since(before: list[int]) -> list[int]:
    """The processes below this one that were not there before, without those that servers of other tests start."""
    begun = [child for child in _children(os.getpid()) if child not in before and alive(child)]
    return [pid for child in begun for pid in (child, *offspring(child))]


def offspring(of: int | None = None) -> list[int]:
    """The processes that run below this one."""
    children = _children(os.getpid() if of is None else of)
    return sorted(pid for child in children if alive(child) for pid in (child, *offspring(child)))


def _children(of: int) -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _status(int(path.name))[1] == of]


def _status(pid: int) -> tuple[str, int]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])
