"""The set-up of processes: death signal, forked calls, umask, exit, memory, garbage collector, service manager and log."""

from __future__ import annotations

import atexit
import ctypes
import gc
import multiprocessing
import os
import signal
import socket
import sys
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
    receiving, sending = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        try:
            sending.send(call())
        except PhimageError as error:
            sending.send(error)
        except KeyboardInterrupt:
            sys.exit(1)  # the parent receives it, too

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    sending.close()
    try:
        result = receiving.recv()
    except EOFError:
        raise SetupError("a child process ended without a result; see its error above") from None
    finally:
        receiving.close()
        child.join()
    if isinstance(result, PhimageError):
        raise result
    return cast("Result", result)


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


def tune_garbage_collector() -> None:
    """Raise the GC thresholds and freeze start-up objects: caches hold no cycles, and full collections stall requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def notify_service_manager(state: str) -> None:
    """Report a state to the service manager that started this process, as sd_notify(3) says. Without one, does nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        sending.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def configure_log() -> None:
    """Write log events as lines of JSON to standard error."""
    import structlog  # late: commands that log nothing start faster without it

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
