"""`python -m bench.start [ROUNDS]`: processor seconds of a first start, of the demonstration and of a list of images.

Processor time instead of duration: it depends less on what else runs. A start counts all processes of the server, until it
answers; commands count until they end.
"""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import urllib3

from bench.servers import free_port

ROUNDS = 7
PHIMAGE = (sys.executable, "-m", "phimage")
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder:
        os.environ["PHIMAGE_PROFILES"] = f"{folder}/demo/profiles.toml"
        _report("serve, first answer on a new folder", 0.6, [_start(Path(folder) / f"new{each}") for each in range(rounds)])
        demo = (*PHIMAGE, "demo", "--port", "0", "--data-dir")
        _report("demo --once", 0.8, [_command(*demo, f"{folder}/demo{each}", "--once") for each in range(rounds)])
        port = free_port()
        serving = (*PHIMAGE, "demo", "--port", str(port), "--data-dir", f"{folder}/demo")
        with subprocess.Popen(serving, stdout=subprocess.DEVNULL) as server:
            _wait(port)
            _until(lambda: Path(os.environ["PHIMAGE_PROFILES"]).exists())
            _report("image ls", 0.15, [_command(*PHIMAGE, "image", "ls") for _ in range(rounds)])
            server.send_signal(signal.SIGTERM)


def _report(what: str, goal: float, seconds: list[float]) -> None:
    print(f"{what}: {statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), goal {goal:g}")


def _start(data: Path) -> float:
    port = free_port()
    with subprocess.Popen(
        (*PHIMAGE, "serve", "--port", str(port), "--data-dir", str(data)), stdout=subprocess.DEVNULL
    ) as server:
        _wait(port)
        seconds = _processor_seconds(server.pid)
        server.send_signal(signal.SIGTERM)
    return seconds


def _command(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _processor_seconds(process: int) -> float:
    """Of a process, of its children that have ended, and of those that run."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / _TICKS
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(_processor_seconds(int(child)) for child in children)


def _wait(port: int) -> None:
    def is_ready() -> bool:
        try:
            return urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False, timeout=20).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    _until(is_ready)


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError("phimage did not start")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
