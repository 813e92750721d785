"""Servers that all workers of a test run share. The first worker that needs one starts it; it ends with the run.

The process that began the run holds a pipe open. A server's holder reads from it: when the pipe closes, however the run
ended, the holder stops its server and removes its folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_FOLDER = "PHIMAGE_TEST_RUN"
_PIPE = "pipe"
END_SECONDS = 120

_HOLD = """
exec 3<&0 2>/dev/null
folder=$1 signal=$2
shift 2
(
    "$@" >"$folder/log" 2>&1 </dev/null 3<&- &
    server=$!
    (read -r _ <&3; kill "-$signal" $server) &
    wait $server
    rm -rf "$folder"
) &
"""
_held: list[int] = []


def begin() -> None:
    """Begin a run: its workers find it in their environment."""
    folder = Path(tempfile.mkdtemp(prefix="phimage-run-", dir=_parent()))
    folder.chmod(0o711)  # PostgreSQL runs as another user when the tests run as root
    os.mkfifo(folder / _PIPE, 0o600)
    _held.append(os.open(folder / _PIPE, os.O_RDWR))
    os.environ[_FOLDER] = str(folder)


def end() -> None:
    """End the run and its servers."""
    while _held:
        os.close(_held.pop())
    folder = Path(os.environ.pop(_FOLDER))
    ends = time.monotonic() + END_SECONDS
    while any(folder.glob("*/")) and time.monotonic() < ends:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)  # a server that still ends removes its own part


def server(name: str, start: Callable[[Path, int], None]) -> Path:
    """The folder of a running server. `start` makes the folder, and a server whose holder reads the pipe."""
    run = Path(os.environ[_FOLDER])
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = run / f"{name}.started"
        if not started.exists():
            pipe = os.open(run / _PIPE, os.O_RDONLY)
            try:
                start(run / name, pipe)
            finally:
                os.close(pipe)
            started.touch()
    return run / name


def hold(command: Sequence[object], folder: Path, pipe: int, signal: str) -> None:
    """Start a server that outlives this process, with a log in its folder.

    When the pipe closes the server gets the signal. The folder is removed when it has ended, however that came.
    """
    holder = ["/bin/sh", "-c", _HOLD, "sh", str(folder), signal, *map(str, command)]
    subprocess.run(holder, cwd=folder, stdin=pipe, start_new_session=True, check=True)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short enough for a socket's, wherever TMPDIR is."""
    with tempfile.TemporaryDirectory(prefix="phimage-", dir=_parent()) as folder:
        yield Path(folder)


def worker() -> str:
    """The name of this worker of the run."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def _parent() -> str | None:
    """A folder for temporary files that every user can enter, and whose path is short enough for a socket's."""
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if len(str(folder)) < 40 and all(above.stat().st_mode & 0o001 for above in (folder, *folder.parents)):
            return str(folder)
    return None
