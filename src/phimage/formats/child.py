"""A child process that is not trusted to end, to be quiet or to say little."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from phimage.errors import SetupError
from phimage.formats.cell import NO_CELL
from phimage.formats.failure import QemuFailed, QemuStopped

MAX_OUTPUT: Final = 1 << 20
MAX_ERRORS: Final = 64 << 10
TICK: Final = 0.25
_OPENING: Final = re.compile(r"^qemu-img: |Could not open '[^']*': ")
STOPPED: Final = {
    signal.SIGXCPU: "it used up its CPU seconds",
    signal.SIGKILL: "it was killed; it may have used up its memory or CPU seconds",
    signal.SIGXFSZ: "it wrote more than the size of the disk",
}


def run(
    arguments: Sequence[str], *, files: Sequence[int], seconds: float, name: str, heard: Callable[[bytes], None] | None = None
) -> bytes:
    """Run a program to its end and return what it wrote, at most a MiB. It inherits `files`, an empty environment, no input.

    `heard` gets the end of what it wrote so far, four times a second; then a MiB is no bound and nothing is returned. When
    anything ends this call, the program's whole process group is dead. Raises QemuFailed with its last line, QemuStopped at a
    limit, SetupError where it could not be started.
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
        output, errors = _listen(process, time.monotonic() + seconds, name, heard)
        status = process.wait()
    finally:
        _kill(process)
    if status:
        last = _last_line(errors)
        stopped = STOPPED.get(signal.Signals(-status)) if status < 0 else None
        if stopped:
            raise QemuStopped(f"{name}: {stopped}")
        if status == NO_CELL:
            raise SetupError(f"{name} could not be started: {last}")
        raise QemuFailed(f"{name}: {last or f'it ended with status {status}'}")
    return output


def _listen(
    process: subprocess.Popen[bytes], deadline: float, name: str, heard: Callable[[bytes], None] | None
) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    said = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    output, errors = said.values()
    with selectors.DefaultSelector() as selector:
        for file in said:
            os.set_blocking(file, False)
            selector.register(file, selectors.EVENT_READ)
        told = time.monotonic()
        while selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                raise QemuStopped(f"{name}: it took longer than its time")
            if heard is not None and now - told >= TICK:
                told = now
                heard(bytes(output))
            for key, _events in selector.select(min(TICK, deadline - now)):
                data = os.read(key.fd, 65536)
                said[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
            if heard is not None:
                del output[:-256]
            del errors[:-MAX_ERRORS]
            if len(output) > MAX_OUTPUT:
                raise QemuStopped(f"{name}: it said more than {MAX_OUTPUT} bytes")
    return bytes(output), bytes(errors)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, whether or not its leader is still there, and let go of the pipes."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_line(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    last = _OPENING.sub("", lines[-1]) if lines else ""
    return "".join(letter if letter.isprintable() else "?" for letter in last)[:300]
