"""Processes that end with the one that started them, and go about memory as suits a server."""

from __future__ import annotations

import atexit
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar, cast

from phimage.errors import PhimageError, SetupError

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_M_MMAP_THRESHOLD = -3
_COLLECT_AFTER = (50_000, 20, 100)
"""More containers than so many must have come; Python's own 700 are a few requests."""


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's death; if it is dead already, end now."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def in_child(call: Callable[[], Result]) -> Result:
    """The result of a call in a forked child. Raises the PhimageError that it raised.

    For a process that forks workers later: the S3 client starts threads, which a forked copy of it lacks.
    """
    receiving, sending = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        try:
            sending.send(call())
        except PhimageError as error:
            sending.send(error)
        except KeyboardInterrupt:
            sys.exit(1)  # the parent has it too

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    sending.close()
    try:
        result = receiving.recv()
    except EOFError:
        raise SetupError("a child process ended without an answer; its error is above") from None
    finally:
        receiving.close()
        child.join()
    if isinstance(result, PhimageError):
        raise result
    return cast("Result", result)


@contextmanager
def private_files() -> Iterator[None]:
    """Create files for their owner alone, in this process and its children, whatever umask the caller has.

    A umask instead of modes: SQLite chooses the mode of its files by itself.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def leave(code: int) -> NoReturn:
    """End this process with an exit code.

    Once the S3 client was used, without the exit handlers of the C library: the client's threads go on while these run, and
    now and then crash the process in its last moment.
    """
    if "obstore" not in sys.modules:
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def give_memory_back() -> None:
    """Let blocks of 256 KiB and more be of their own, so that what is freed of chunks and parts leaves the process at once.

    glibc raises that bound by itself with each large block that is freed, and then keeps such blocks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 256 << 10)


def collect_seldom() -> None:
    """Look for cycles of garbage seldom, and never among what is there now. What a server remembers has no cycles, and to look
    through all of it makes every request wait that comes meanwhile."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
