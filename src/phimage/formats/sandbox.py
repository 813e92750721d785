"""Running a program in a sandbox: a child process that is not trusted to end, to be quiet, or to leave other files alone.

`sandbox_child.py` sets the limits inside the child process; this module starts it, reads its output and kills it.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from phimage.errors import SetupError
from phimage.formats.errors import QemuFailed, QemuStopped
from phimage.formats.limits import SandboxLimits
from phimage.formats.sandbox_child import NOT_STARTED

MAX_OUTPUT: Final = 1 << 20
MAX_ERRORS: Final = 64 << 10
TICK: Final = 0.25
NOBODY: Final = 65534
"""The user that owns nothing: the kernel's overflow id, and the number of `nobody` on most systems."""

STOPPED: Final = {
    signal.SIGXCPU: "it used up its CPU seconds",
    signal.SIGKILL: "it was killed; it may have used up its memory or CPU seconds",
    signal.SIGXFSZ: "it wrote more than the size of the disk",
}

_OPENING: Final = re.compile(r"^qemu-img: |Could not open '[^']*': ")

OutputCallback = Callable[[bytes], None]
"""Receives the end of the output so far, four times a second. An exception kills the program."""


class ChildSettings(Struct, frozen=True):
    """What `sandbox_child.py` reads: limits, open files, the user and group to become, and whether the walls are required."""

    memory: int
    seconds: int
    output: int
    readable: tuple[int, ...]
    writable: tuple[int, ...]
    user: int | None
    group: int | None
    parent: int
    required: bool

    def command(self) -> list[str]:
        """The command that enters the sandbox. Append the program and its arguments, or nothing to try the walls."""
        entry = [sys.executable, "-I", "-S", str(Path(__file__).with_name("sandbox_child.py"))]
        return [*entry, msgspec.json.encode(self).decode()]


# docs/decisions.md#the-sandbox-is-two-modules
def run_sandboxed(
    command: Sequence[str],
    limits: SandboxLimits,
    *,
    readable: int,
    writable: int | None = None,
    output: int = 0,
    on_output: OutputCallback | None = None,
    require_walls: bool = True,
) -> bytes:
    """Run a program that may read one open file, write `output` bytes to another, and nothing else. Returns its output.

    As root the program runs as another user (see `_user`), who owns the writable file meanwhile. Raises like `run`, and
    SetupError when a wall is missing and required.
    """
    user, group = _user(readable)
    outputs = () if writable is None else (writable,)
    if user is not None and group is not None:
        for file in outputs:
            os.fchown(file, user, group)
    settings = ChildSettings(
        memory=limits.memory,
        seconds=limits.cpu_seconds,
        output=output,
        readable=(readable,),
        writable=outputs,
        user=user,
        group=group,
        parent=os.getpid(),
        required=require_walls,
    )
    try:
        return run(
            [*settings.command(), *command],
            files=(readable, *outputs),
            seconds=limits.seconds,
            name=f"{Path(command[0]).name} {command[1]}",
            on_output=on_output,
        )
    finally:
        if user is not None:
            for file in outputs:
                os.fchown(file, os.geteuid(), os.getegid())


def run(
    arguments: Sequence[str],
    *,
    files: Sequence[int],
    seconds: float,
    name: str,
    on_output: OutputCallback | None = None,
) -> bytes:
    """Run a program to its end and return its output, at most a MiB. It inherits `files`, an empty environment, no input.

    With `on_output` the output is unlimited and not returned. When this call ends, for any reason, the program's whole process
    group is dead. Raises QemuFailed with its last line, QemuStopped at a limit, SetupError when it could not be started.
    """
    process = subprocess.Popen(  # noqa: S603  fixed program, no shell
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        pass_fds=tuple(files),
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + seconds
        output, errors = _communicate(process, deadline, name, on_output)
        _await_end(process, deadline, name)
    finally:
        _kill(process)
    status = process.returncode
    if status:
        last = _last_line(errors)
        stopped = STOPPED.get(signal.Signals(-status)) if status < 0 else None
        if stopped:
            raise QemuStopped(f"{name}: {stopped}")
        if status == NOT_STARTED:
            raise SetupError(f"{name} could not be started: {last}")
        raise QemuFailed(f"{name}: {last or f'it ended with status {status}'}")
    return output


def _user(file: int) -> tuple[int, int] | tuple[None, None]:
    """The user and group that may read a file, for root: nobody if everyone may read it, else its owner. None: unchanged."""
    if os.geteuid() != 0:
        return None, None
    status = os.fstat(file)
    if status.st_mode & stat.S_IROTH:
        return NOBODY, NOBODY
    return (status.st_uid, status.st_gid) if status.st_uid else (None, None)


def _communicate(
    process: subprocess.Popen[bytes], deadline: float, name: str, on_output: OutputCallback | None
) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    buffers = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    output, errors = buffers.values()
    with selectors.DefaultSelector() as selector:
        for file in buffers:
            os.set_blocking(file, False)
            selector.register(file, selectors.EVENT_READ)
        reported = time.monotonic()
        while selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                raise QemuStopped(f"{name}: it exceeded its time limit")
            if on_output is not None and now - reported >= TICK:
                reported = now
                on_output(bytes(output))
            for key, _events in selector.select(min(TICK, deadline - now)):
                data = os.read(key.fd, 65536)
                buffers[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
            if on_output is not None:
                del output[:-256]
            del errors[:-MAX_ERRORS]
            if len(output) > MAX_OUTPUT:
                raise QemuStopped(f"{name}: it printed more than {MAX_OUTPUT} bytes")
    return bytes(output), bytes(errors)


def _await_end(process: subprocess.Popen[bytes], deadline: float, name: str) -> None:
    """Wait for a program that may have closed its output long before it ends, and leave its number to its process group."""
    pause = 0.001
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= deadline:
            raise QemuStopped(f"{name}: it exceeded its time limit")
        time.sleep(pause)
        pause = min(2 * pause, TICK)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, even when its leader has ended, and close the pipes."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_line(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    last = _OPENING.sub("", lines[-1]) if lines else ""
    return "".join(letter if letter.isprintable() else "?" for letter in last)[:300]
