"""Real `phimage` processes: commands that end, and servers that answer until they are stopped."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import chdir, suppress
from fcntl import ioctl
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, NamedTuple, Self
from unittest.mock import patch
from urllib.parse import urlsplit

from tests import commands
from tests.commands import Result

PHIMAGE = str(Path(sys.executable).with_name("phimage"))
START_SECONDS = 60
STOP_SECONDS = 80
"""A minute more than a server takes by itself: 10 s for requests under way and 8 s for publishers."""
COMMAND_SECONDS = 120
EXECUTED = {"serve", "demo", "publisher", "ci"}

DESCRIBED = (
    *("--type", "base", "--name", "Debian", "--os-type", "Debian", "--os-name", "Debian 12 64bit"),
    *("--zone", "cn-bj2-02", "--support", "DB-2"),
)
"""Options that describe a base image of the starter catalogue's first zone."""

OPEN_UMASK = ("sh", "-c", 'umask 000 && exec "$@"', "sh")
"""Starts a program whose files everyone may read and write, unless it cares for that itself."""


class Key(NamedTuple):
    """A key pair as `phimage` printed it."""

    public: str
    private: str


class Phimage:
    """The command line in a home of its own: no profile and no variable of the developer's comes in."""

    def __init__(self, home: Path, program: str = PHIMAGE, **variables: str) -> None:
        self.home = home
        self.program = program
        home.mkdir(exist_ok=True)
        self.environment = {
            "PATH": f"{Path(PHIMAGE).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "LANG": "C.UTF-8",
            "PHIMAGE_PUBLISHERS": "0",  # a process more for each server; who publishes says 1
            **variables,
        }

    def using(self, endpoint: str, key: Key, **variables: str) -> Phimage:
        """The same home, calling a server with a key."""
        called = {"PHIMAGE_ENDPOINT": endpoint, "PHIMAGE_PUBLIC_KEY": key.public, "PHIMAGE_PRIVATE_KEY": key.private}
        return Phimage(self.home, self.program, **{**self.environment, **called, **variables})

    def run(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command to its end; `text` is its standard input. It runs in this process, which spares the imports.

        What starts processes or listens is executed.
        """
        if arguments[0] in EXECUTED or threading.current_thread() is not threading.main_thread():
            return self.execute(*arguments, text=text)
        with patch.dict(os.environ, self.environment, clear=True), chdir(self.home):
            return commands.run(*arguments, text=text or "")

    def execute(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command in a process of its own. No command ever shows a traceback."""
        ended = subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            cwd=self.home,
            input=text or "",
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def well(self, *arguments: str, text: str | None = None) -> str:
        """What a command prints that must end well."""
        result = self.run(*arguments, text=text)
        assert result.code == 0, (arguments, result)
        return result.out

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.well(*arguments, "--json"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and let it run."""
        return subprocess.Popen(
            [self.program, *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def in_terminal(self, *arguments: str, columns: int = 80, answers: Mapping[str, str] | None = None) -> Result:
        """Run a command in a terminal of so many columns, where a person answers what it asks."""
        screen, terminal = pty.openpty()
        ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
        command = subprocess.Popen(
            [self.program, *arguments],
            env={**self.environment, "TERM": "xterm"},
            cwd=self.home,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        try:
            shown = _talk(screen, dict(answers or {}))
            code = command.wait(COMMAND_SECONDS)
        finally:
            os.close(screen)
            command.kill()
            command.wait()
        assert "Traceback" not in shown, shown
        return Result(code, shown, "")


def _talk(screen: int, answers: dict[str, str]) -> str:
    shown = b""
    while select([screen], [], [], COMMAND_SECONDS)[0]:
        try:
            part = os.read(screen, 65536)
        except OSError:  # as Linux says that nobody has the terminal open any more
            break
        shown += part
        for question in [question for question in answers if question.encode() in shown]:
            os.write(screen, f"{answers.pop(question)}\n".encode())
    return shown.decode().replace("\r\n", "\n")


class Worker(NamedTuple):
    """A process below a server, told from a later one that gets the same number by when it started."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether it still runs."""
        fields = _fields(self.pid)
        return fields is not None and fields[_STARTED] == self.started and fields[0] not in ("Z", "X")

    def stopped(self) -> bool:
        """Whether SIGSTOP has stopped it."""
        fields = _fields(self.pid)
        return fields is not None and fields[_STARTED] == self.started and fields[0] == "T"


class Server:
    """A `phimage serve` or `phimage demo` that answers. It is made, and stopped, as a context."""

    def __init__(self, phimage: Phimage, *arguments: str, under: tuple[str, ...] = ()) -> None:
        """`under`: a program that starts it."""
        self._over = False
        self.home = phimage.home
        self._output = phimage.home / f"server-{time.monotonic_ns()}.out"
        self._errors = self._output.with_suffix(".err")
        with self._output.open("w") as output, self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*under, phimage.program, *arguments],
                env=phimage.environment,
                cwd=phimage.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        try:
            self.url = self._wait_until_listening()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _wait_until_listening(self) -> str:
        def said() -> str | None:
            lines = [line for line in self.output.splitlines(keepends=True) if line.startswith("listening on http")]
            return lines[0].removeprefix("listening on ").strip() if lines and lines[0].endswith("\n") else None

        wait_until(lambda: said() is not None or self._process.poll() is not None, START_SECONDS)
        url = said()
        assert url is not None, (self._process.poll(), self.output, self.errors)
        return url

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text("utf-8")

    @property
    def errors(self) -> str:
        """What it has printed on standard error so far."""
        return self._errors.read_text("utf-8")

    @property
    def new_key(self) -> Key | None:
        """The operator's key, if this was the first start."""
        lines = [line.split() for line in self.output.splitlines()]
        found = {words[0]: words[2] for words in lines if words[1:2] == ["key"] and len(words) == 3}
        return Key(found["public"], found["private"]) if found else None

    def workers(self) -> list[Worker]:
        """The processes below it."""
        found = ((pid, _fields(pid)) for pid in _below(self._process.pid))
        return [Worker(pid, fields[_STARTED]) for pid, fields in found if fields is not None]

    def kill(self, seconds: float = STOP_SECONDS) -> None:
        """SIGKILL to the main process alone. Its workers must follow, at the latest in so many seconds."""
        workers = self.workers()
        assert workers
        self._over = True
        self._process.kill()
        assert self._process.wait(STOP_SECONDS) == -signal.SIGKILL
        wait_until(lambda: not any(worker.alive() for worker in workers), seconds)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code of a server that ends by itself."""
        self._over = True
        return self._process.wait(seconds)

    @property
    def pid(self) -> int:
        """The main process."""
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the main process and everything below it."""
        for pid in (self._process.pid, *_below(self._process.pid)):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, which it must obey in time, well, and with all its workers."""
        self.signal(signal.SIGTERM)
        self.end(seconds)

    def end(self, seconds: float = STOP_SECONDS) -> None:
        """Its end, for which it was asked before: in time, well, and with all its workers."""
        workers = self.workers()
        self._over = True
        try:
            code = self._process.wait(seconds)
        finally:
            self._process.kill()
            self._process.wait()
        assert code == 0, (code, self.output, self.errors)
        wait_until(lambda: not any(worker.alive() for worker in workers), STOP_SECONDS)
        assert "Traceback" not in self.errors, self.errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if not self._over:
            self.stop()


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that must happen in time."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.01)


def wait_until_read(url: str, connections: int) -> None:
    """Wait until a server has read all that was sent to it, on at least so many connections."""
    port = f":{urlsplit(url).port or 0:04X}"

    def has_read() -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        ends = [row for row in rows if row[_STATE] == _ESTABLISHED and (row[1].endswith(port) or row[2].endswith(port))]
        return len(ends) >= 2 * connections and all(row[_QUEUES] == "00000000:00000000" for row in ends)

    wait_until(has_read, START_SECONDS)


_STATE, _QUEUES, _ESTABLISHED = 3, 4, "01"
"""Of a line of /proc/net/tcp, whose second and third words are the addresses of both ends."""


def _below(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                children += map(int, (task / "children").read_text().split())
    return [below for child in children for below in (child, *_below(child))]


_STARTED = 19
"""Where /proc/PID/stat says when a process started, counted from its state."""


def _fields(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def open_to_others(folder: Path) -> list[str]:
    """What of a folder, itself included, anyone but its owner can use."""
    found = []
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):  # a temporary file of a server that runs
            mode = path.stat().st_mode
            found += [f"{path} {mode & 0o777:04o}"] if mode & 0o077 else []
    return found
