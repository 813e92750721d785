"""Starting servers for a measurement, and stopping them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import urllib3
from msgspec import Struct

from bench import processes

KIND = {"Content-Type": "application/x-www-form-urlencoded"}
START_SECONDS = 60.0


class Running(Struct, frozen=True):
    """A phimage server with one worker. `started` is the start time of its process, by `time.perf_counter`."""

    url: str
    process: int
    started: float

    def worker_megabytes(self) -> float:
        """Resident memory of the worker, in MB."""
        return processes.megabytes(processes.worker(self.process))


@contextmanager
def phimage(data: Path, database: str = "") -> Iterator[Running]:
    """A phimage server with one worker on a prepared data folder."""
    command = [sys.executable, "-m", "phimage", "serve", "--data-dir", str(data), "--port", "0"]
    started = time.perf_counter()
    with running(command, {"PHIMAGE_DATABASE": database} if database else {}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("listening on "):
                yield Running(line.split()[-1], process.pid, started)
                return
        raise RuntimeError("phimage did not start")


class Installation(Struct, frozen=True):
    """A server with a new installation and the starter catalogue. `environment` has the operator's key."""

    process: int
    url: str
    environment: Mapping[str, str]

    def command(self, *arguments: str, text: str | None = None) -> str:
        """What a command of phimage prints."""
        command = [sys.executable, "-m", "phimage", *arguments]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, input=text)
        if ended.returncode:
            raise RuntimeError(f"phimage {' '.join(arguments)} failed: {ended.stderr}")
        return ended.stdout


@contextmanager
def installation(data: Path, variables: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """A server on a new installation with the starter catalogue."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(data / "config"), **(variables or {})}
    data.mkdir()
    with _serving(data, environment) as (process, said):
        key = {words[0].upper(): words[2] for words in said if words[1:2] == ["key"] and len(words) == 3}
        keys = {"PHIMAGE_PUBLIC_KEY": key["PUBLIC"], "PHIMAGE_PRIVATE_KEY": key["PRIVATE"]}
        found = Installation(process, _url(said), {**environment, **keys, "PHIMAGE_ENDPOINT": _url(said)})
        found.command("catalog", "apply", "-", text=found.command("catalog", "starter"))
        yield found


@contextmanager
def again(data: Path, before: Installation) -> Iterator[Installation]:
    """Another server on an installation, whose own has ended."""
    with _serving(data, before.environment) as (process, said):
        yield Installation(process, _url(said), {**before.environment, "PHIMAGE_ENDPOINT": _url(said)})


@contextmanager
def _serving(data: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, list[list[str]]]]:
    """The process of a server, and the words of the lines that it printed."""
    log = data / "log"
    command = [sys.executable, "-m", "phimage", "serve", "--data-dir", str(data / "data"), "--port", "0"]
    with log.open("w") as output, running(command, environment, stdout=output, stderr=output) as process:
        wait_until(lambda: "listening on" in log.read_text())
        wait_until(lambda: len(processes.children(process.pid)) > 1)  # the publisher starts last
        yield process.pid, [line.split() for line in log.read_text().splitlines()]


def _url(said: list[list[str]]) -> str:
    return next(words[2] for words in said if words[:1] == ["listening"])


@contextmanager
def bare(answers: list[bytes], work: Path) -> Iterator[str]:
    """The bare server, which returns these bytes in rotation."""
    file = work / "answers"
    file.write_bytes(b"\n".join(answers))
    port = free_port()
    with running([sys.executable, "-m", "bench.bare", str(port), str(file)]):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url))
        yield url


@contextmanager
def nginx(files: Path, work: Path) -> Iterator[tuple[str, int]]:
    """The address of nginx on a folder, with one worker, sendfile and no log; and its worker. A POST gets the file as well."""
    port = free_port()
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log; user root; worker_processes 1; events {{}}\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type application/json;\n"
        f"server {{ listen 127.0.0.1:{port}; root {files}; location / {{ error_page 405 =200 $uri; }} }} }}\n"
    )
    with running(["nginx", "-c", str(config)]) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url))
        yield url, processes.children(process.pid)[0]


def answer_files(answers: Sequence[bytes], folder: Path) -> list[str]:
    """Write answers as files, for nginx; returns their paths on it."""
    folder.mkdir()
    for number, answer in enumerate(answers):
        (folder / str(number)).write_bytes(answer)
    return [f"/{number}" for number in range(len(answers))]


def ask(url: str, body: str) -> bytes:
    """The answer to a form body. Raises RuntimeError when it is an error."""
    answer = _POOL.request("POST", url, body=body.encode(), headers=KIND).data
    if not answer.startswith(b'{"RetCode":0,'):
        raise RuntimeError(f"a good question was answered with {answer[:300]!r}")
    return answer


_POOL = urllib3.PoolManager(retries=False, timeout=30, maxsize=4)


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None = None, **streams: object
) -> Iterator[subprocess.Popen[str]]:
    """A process, which gets SIGTERM at the end."""
    whole = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, text=True, env=whole, **streams) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a server that starts. Raises RuntimeError after a minute."""
    ends = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError("a server did not start")
        time.sleep(0.01)


def is_ready(url: str) -> bool:
    """Whether a phimage server answers that it is ready."""
    try:
        return urllib3.request("GET", f"{url}/readyz", retries=False, timeout=20).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def free_port() -> int:
    """A free port."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        urllib3.request("GET", url, retries=False, timeout=1)
    except urllib3.exceptions.HTTPError:
        return False
    return True
