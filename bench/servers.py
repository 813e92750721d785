"""Starting servers for a measurement, and stopping them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import urllib3
from msgspec import Struct

KIND = {"Content-Type": "application/x-www-form-urlencoded"}


class Running(Struct, frozen=True):
    """A phimage server with one worker. `started` is the start time of its process, by `time.perf_counter`."""

    url: str
    process: int
    started: float

    def worker_megabytes(self) -> float:
        """Resident memory of the worker, in MB."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return max(_resident(child) for child in children)


@contextmanager
def phimage(data: Path, database: str = "") -> Iterator[Running]:
    """A phimage server with one worker on a prepared data folder."""
    command = [sys.executable, "-m", "phimage", "serve", "--data-dir", str(data), "--port", "0"]
    started = time.perf_counter()
    with _process(command, {"PHIMAGE_DATABASE": database} if database else {}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("listening on "):
                yield Running(line.split()[-1], process.pid, started)
                return
        raise RuntimeError("phimage did not start")


@contextmanager
def bare(answers: list[bytes], work: Path) -> Iterator[str]:
    """The bare server, which returns these bytes in rotation."""
    file = work / "answers"
    file.write_bytes(b"\n".join(answers))
    port = free_port()
    with _process([sys.executable, "-m", "bench.bare", str(port), str(file)], {}, stdout=None):
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib3.request("GET", url, retries=False, timeout=1)
            except urllib3.exceptions.HTTPError:
                time.sleep(0.1)
            else:
                yield url
                return
        raise RuntimeError("the bare server did not start")


def ask(url: str, body: str) -> bytes:
    """The answer to a form body. Raises RuntimeError when it is an error."""
    answer = _POOL.request("POST", url, body=body.encode(), headers=KIND).data
    if not answer.startswith(b'{"RetCode":0,'):
        raise RuntimeError(f"a good question was answered with {answer[:300]!r}")
    return answer


_POOL = urllib3.PoolManager(retries=False, timeout=30, maxsize=4)


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], stdout: int | None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=stdout, text=True, env={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def free_port() -> int:
    """A free port."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _resident(process: str) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
