"""Exit codes of commands, and the report of each error on standard error instead of a traceback: a line, or JSON."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TextIO

import click

from phimage.chunks.errors import StoreFailure
from phimage.cli.error_report import ErrorReport, asks_for_json, print_error, report_of
from phimage.errors import ClientError, Locked, PhimageError, Unreachable

FAILED = 1
FINDINGS = 1  # of a check or a verification
NOT_LISTED = 1  # of `image explain`
DIFFERENCES = 2  # of `catalog plan`
USAGE = 64  # docs/decisions.md#usage-errors-exit-with-64
INTERRUPTED = 130

EXIT_CODES = {
    0: "success",
    FAILED: "refused by the server, or failed; findings of a check or a verification; an explained image is not listed",
    DIFFERENCES: "`catalog plan` found differences",
    USAGE: "the command line is wrong, or the command must ask and there is no terminal",
    65: "an image, its source or a withdrawal was refused",
    Unreachable.exit_code: "no response from the server, the database or the store",
    70: "the processes of a server died one after the other",
    Locked.exit_code: "another process holds a lock, or a source broke off; the same command may work later",
    78: "the installation, its settings or the profile file are wrong",
    INTERRUPTED: "interrupted",
}
"""Every exit code of the program with its meaning."""

_STORE_CODES = {"busy": Locked.exit_code, "unreachable": Unreachable.exit_code}
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF)


# docs/decisions.md#one-place-turns-errors-into-exit-codes
def run_to_exit_code(command: Callable[[], object], arguments: Sequence[str] = ()) -> int:
    """Run a command and return its exit code. Prints errors, as JSON if `arguments` have --json; raises none."""
    _prepare_streams()
    try:
        result = _result(command)
        sys.stdout.flush()
    except (click.ClickException, click.Abort, KeyboardInterrupt, StoreFailure, PhimageError, OSError) as error:
        report = _report(error)
        if report.message:
            print_error(error, report, as_json=asks_for_json(arguments))
        return report.exit_code
    return result if isinstance(result, int) else 0


def _result(command: Callable[[], object]) -> object:
    """The result of a command, also of one that ends with `sys.exit`: the caller must be able to skip C's exit handlers."""
    try:
        return command()
    except SystemExit as ended:
        return ended.code


@contextmanager
def file_errors(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn an OSError into a ClientError with the file's name, which a failed write lacks, and with `remedy` at the end."""
    try:
        yield
    except OSError as error:
        text = f"{path}: {error.strerror or error}"
        raise ClientError(f"{text}; {remedy}" if remedy else text) from None


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end a command as Ctrl-C does, once, so that it removes its temporary folder.

    Only in the main thread. A signal that the caller has ignored, as nohup does, stays ignored.
    """

    def interrupt(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # another one would end the removal
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare_streams() -> None:
    """Replace closed streams, which are None in Python, by the null device. Escape characters that an encoding lacks."""
    sys.stdin = sys.stdin or _null_device("r")
    sys.stdout = sys.stdout or _null_device("w")
    sys.stderr = sys.stderr or _null_device("w")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", "") in ("strict", "surrogateescape"):  # the latter in LANG=C
            reconfigure(errors="backslashreplace")


def _null_device(mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode, encoding="utf-8")


def _report(error: BaseException) -> ErrorReport:
    """The report of an error, with its exit code. Its message is empty when nobody reads."""
    if isinstance(error, click.UsageError):
        return report_of(error, USAGE)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return ErrorReport(INTERRUPTED, "interrupted")
    if isinstance(error, StoreFailure):
        return report_of(error, _STORE_CODES.get(error.reason, FAILED))
    if isinstance(error, PhimageError):
        return report_of(error, error.exit_code)
    if isinstance(error, OSError):
        return ErrorReport(FAILED, _os_error(error))
    return report_of(error, FAILED)


def _os_error(error: OSError) -> str:
    """The text of an unexpected OSError; empty if the reader closed the pipe, as `| head` does.

    Commands name the files that they write, so a failed write without a name is output.
    """
    output_failed = error.filename is None and error.errno in _WRITE_ERRORS
    if output_failed:
        _discard_output()
    if isinstance(error, BrokenPipeError):
        return ""
    where = "standard output" if output_failed else os.fsdecode(error.filename or "")
    reason = error.strerror or str(error)
    return f"{where}: {reason}" if where else reason


def _discard_output() -> None:
    """Redirect standard output to the null device, because Python flushes it once more at exit."""
    with suppress(OSError):  # standard output may have no file descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
