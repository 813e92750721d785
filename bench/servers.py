"""Starting servers for a measurement, and stopping them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import urllib3


@contextmanager
def phimage(data: Path) -> Iterator[str]:
    """A phimage server with one worker on a prepared data folder; gives its address."""
    command = [sys.executable, "-m", "phimage", "serve", "--data", str(data), "--port", "0"]
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("listening on "):
                yield line.split()[-1]
                return
        raise RuntimeError("phimage did not start")


@contextmanager
def bare(answer: Path) -> Iterator[str]:
    """The bare server, answering the bytes of a file."""
    port = _free_port()
    with _process([sys.executable, "-m", "bench.bare", str(port), str(answer)], stdout=None):
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


@contextmanager
def _process(command: list[str], stdout: int | None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=stdout, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
