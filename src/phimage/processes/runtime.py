"""The set-up of processes: death signal, forked calls, umask, exit, memory, garbage collector and service manager."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar, cast

from phimage.errors import PhimageError, SetupError

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
# docs/decisions.md#freed-memory-returns-to-the-system
_MALLOC_OPTIONS = (
    (-3, 4 << 20),  # M_MMAP_THRESHOLD: parts of uploads are mapped on their own, chunks are not
    (-8, 1),  # M_ARENA_MAX: threads share one heap, and what one frees another takes
    (-1, 16 << 20),  # M_TRIM_THRESHOLD: free bytes at the end of the heap that stay
)
# docs/decisions.md#pythons-garbage-collector-runs-rarely
_GC_THRESHOLDS = (50_000, 20, 100)
"""Python's default of 700 new containers is reached within a few requests."""


# docs/decisions.md#workers-die-with-the-server
def die_with_parent(parent: int) -> None:
    """Have the kernel send SIGKILL to this process when its parent dies; if it is dead already, end now."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


# docs/decisions.md#the-start-prepares-in-a-child-process
def in_child(call: Callable[[], Result]) -> Result:
    """Call a function in a forked child and return its result. Raises the PhimageError that it raised.

    For a process that forks workers later: the S3 client starts threads, and a forked copy of it would lack them.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(reading)
        _send_result(call, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as receiving:
            sent = receiving.read()
    finally:
        os.waitpid(child, 0)
    if not sent:
        raise SetupError("a child process ended without a result; see its error above")
    result = pickle.loads(sent)  # noqa: S301  from our own child
    if isinstance(result, PhimageError):
        raise result
    return cast("Result", result)


def _send_result(call: Callable[[], object], writing: int) -> NoReturn:
    """Call a function in a forked child, send its result or its PhimageError, and end without the handlers of the parent."""
    try:
        try:
            result = call()
        except PhimageError as error:
            result = error
        with os.fdopen(writing, "wb") as sending:
            sending.write(pickle.dumps(result))
    except KeyboardInterrupt:  # the parent receives it, too
        pass
    except BaseException:  # noqa: BLE001  nothing may return into the code of the parent
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(0)


@contextmanager
def private_files() -> Iterator[None]:
    """Make new files readable by their owner only, in this process and its children, whatever the caller's umask.

    A umask, not modes: SQLite chooses the mode of its files itself.
    """
    # docs/decisions.md#private-files-by-umask
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def exit_process(code: int) -> NoReturn:
    """End this process with an exit code.

    After the S3 client was imported, skips the exit handlers of the C library: the client's threads run on during these and
    occasionally crash the process.
    """
    if "obstore" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def return_freed_memory() -> None:
    """Have glibc return the memory of freed parts, and keep that of a few freed chunks for the next ones.

    By default it keeps all of it, in up to eight heaps for each processor.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if mallopt is not None:
        for option, value in _MALLOC_OPTIONS:
            mallopt(option, value)


def collect_rarely() -> None:
    """Raise the first of the GC thresholds: imports make many containers and hardly any garbage."""
    gc.set_threshold(_GC_THRESHOLDS[0], *gc.get_threshold()[1:])


def tune_garbage_collector() -> None:
    """Raise all GC thresholds and freeze start-up objects: caches hold no cycles, and full collections stall requests.

    Objects that are frozen before a fork stay shared, because no collection writes to them.
    """
    gc.freeze()  # without a collection, which takes 40 ms and finds 0.2 MB
    gc.set_threshold(*_GC_THRESHOLDS)


def notify_service_manager(state: str) -> None:
    """Report a state to the service manager that started this process, as sd_notify(3) says. Without one, does nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        sending.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
