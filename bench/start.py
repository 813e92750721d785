"""The start: processor seconds of a first start, of the demonstration and of a list of images.

Processor time instead of duration: it depends less on what else runs. A start counts all processes of the server, until it
answers; commands count until they end.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import processes, servers
from bench.figures import Figures

PHIMAGE = (sys.executable, "-m", "phimage")


def measure(figures: Figures, rounds: int) -> None:
    """Rounds of each."""
    figures.about = "Processor seconds"
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder, servers.installation(Path(folder) / "kept") as kept:
        for each in range(rounds):
            _start(Path(folder) / f"new{each}", figures)
            figures.add("image ls", _command(kept, "image", "ls", "--zone", "cn-bj2-02"))
            demo = ("demo", "--port", "0", "--data-dir", f"{folder}/demo{each}", "--once")
            figures.add("demo --once", _command(kept, *demo))


def _start(data: Path, figures: Figures) -> None:
    port = servers.free_port()
    command = (*PHIMAGE, "serve", "--port", str(port), "--data-dir", str(data))
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        servers.wait_until(lambda: servers.is_ready(f"http://127.0.0.1:{port}"))
        figures.add("serve, first answer on a new folder", processes.processor_seconds(server.pid))
        figures.add("serve, seconds to it", time.perf_counter() - begun)
        server.send_signal(signal.SIGTERM)


def _command(kept: servers.Installation, *arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept.command(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
