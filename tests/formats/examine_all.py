"""Examines every file of a folder and says what it did: `python -m tests.formats.examine_all FOLDER [--own]`.

Each line is JSON: the file, its verdict, CPU time in that of a loop and the largest memory so far, both of this program and of
those that it starts. With `--own` qemu-img is not asked, and every file that Python opens and every process or connection that
it starts is told too.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from phimage.formats.disk import describe
from phimage.formats.examine import examine, examine_disk, examine_head
from phimage.formats.qemu import info
from phimage.formats.reader import FileReader
from tests.loops import loop_seconds

WATCHED = ("open", "os.", "subprocess.", "socket.", "ctypes.")
WORTH_MEASURING = 0.1
"""CPU seconds."""


def peak() -> int:
    """The max memory of this program; getrusage also counts what its parent had when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def cpu() -> float:
    """CPU seconds so far, with those of programs that were started and have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def main() -> None:
    """Read the command line and begin."""
    folder, own = Path(sys.argv[1]), "--own" in sys.argv
    seen: list[str] = []
    "".encode("utf-16-le")  # Python loads it when it is first asked for
    if own:
        sys.addaudithook(lambda event, given: seen.append(f"{event} {given}") if event.startswith(WATCHED) else None)
    for path in sorted(folder.iterdir()):
        del seen[:]
        started = cpu()
        found = examine(path, second=None if own else info)
        with FileReader(path) as reader:
            describe(reader)
            examine_disk(reader)
            examine_head(reader.read_at(0, 1 << 20), reader.size)
        seconds = cpu() - started
        there = [event for event in seen if str(path) not in event]
        line = {
            "file": path.name,
            "refused": [finding.id for finding in found.refusals()],
            "loops": seconds / loop_seconds() if seconds > WORTH_MEASURING else 0.0,
            "memory": max(peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10),
            "seen": there,
        }
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
