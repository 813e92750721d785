"""Exit codes of commands, and one line on standard error for each error instead of a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Literal, TextIO

import click

from phimage.chunks.errors import StoreFailure
from phimage.cli.output import echo
from phimage.errors import (
    ClientError,
    Locked,
    MissingParam,
    PhimageError,
    Refused,
    ServiceUnavailable,
    UnavailableParam,
    Unreachable,
)

FAILED = 1
FINDINGS = 1  # of a check or a verification
NOT_LISTED = 1  # of `image explain`
DIFFERENCES = 2  # of `catalog plan`
USAGE = 64  # docs/decisions.md#usage-errors-exit-with-64
INTERRUPTED = 130

_STORE_CODES = {"busy": Locked.exit_code, "unreachable": Unreachable.exit_code}
_LISTS = {
    "Region": "phimage region ls",
    "Zone": "phimage zone ls",
    "MachineType": "phimage machine-type ls",
    "Cluster": "phimage cluster ls",
}
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF)


def run_to_exit_code(command: Callable[[], object]) -> int:  # docs/decisions.md#one-place-turns-errors-into-exit-codes
    """Run a command and return its exit code. Prints errors; raises none."""
    _prepare_streams()
    try:
        result = command()
        sys.stdout.flush()
    except click.UsageError as error:
        return _show(error, USAGE)
    except click.ClickException as error:
        return _show(error, FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except ServiceUnavailable as error:
        return _fail(f"phimage: {error.detail}{_cause(error)}", error.exit_code)
    except StoreFailure as error:
        return _fail(f"phimage: {error}", _STORE_CODES.get(error.reason, FAILED))
    except Refused as error:
        return _fail(f"phimage: {error}{_list_of(error)}", error.exit_code)
    except PhimageError as error:
        return _fail(f"phimage: {error}", error.exit_code)
    except OSError as error:
        return _os_error(error)
    return result if isinstance(result, int) else 0


@contextmanager
def file_errors(path: Path, remedy: str = "") -> Iterator[None]:
    """Turn an OSError into a ClientError with the file's name, which a failed write lacks, and with `remedy` at the end."""
    try:
        yield
    except OSError as error:
        text = f"{path}: {error.strerror or error}"
        raise ClientError(f"{text}; {remedy}" if remedy else text) from None


def _prepare_streams() -> None:
    """Replace closed streams, which are None in Python, by the null device. Escape characters that an encoding lacks."""
    sys.stdin = sys.stdin or _null_device("r")
    sys.stdout = sys.stdout or _null_device("w")
    sys.stderr = sys.stderr or _null_device("w")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", "") == "strict":
            reconfigure(errors="backslashreplace")


def _null_device(mode: Literal["r", "w"]) -> TextIO:
    return Path(os.devnull).open(mode, encoding="utf-8")


def _cause(error: ServiceUnavailable) -> str:
    """The first line of the database driver's message. Only commands print it; clients of a server get `detail` alone."""
    cause = getattr(error.__cause__, "orig", error.__cause__)
    text = str(cause or "").strip().partition("\n")[0]
    return f": {text}" if text else ""


def _list_of(error: Refused) -> str:
    """The command that lists what a wrong or missing parameter can be."""
    command = _LISTS.get(error.message.partition("[")[2].partition("]")[0])
    return f"; see {command}" if command and error.ret_code in (MissingParam.ret_code, UnavailableParam.ret_code) else ""


def _os_error(error: OSError) -> int:
    """Print an unexpected OSError. Commands name the files that they write, so a failed write without a name is output."""
    output_failed = error.filename is None and error.errno in _WRITE_ERRORS
    if output_failed:
        _discard_output()
    if isinstance(error, BrokenPipeError):  # the reader closed the pipe, as `| head` does
        return FAILED
    where = "standard output" if output_failed else os.fsdecode(error.filename or "")
    reason = error.strerror or str(error)
    return _fail(f"phimage: {where}: {reason}" if where else f"phimage: {reason}", FAILED)


def _discard_output() -> None:
    """Redirect standard output to the null device, because Python flushes it once more at exit."""
    with suppress(OSError):  # standard output may have no file descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _show(error: click.ClickException, code: int) -> int:
    shown = StringIO()
    error.show(shown)
    return _fail(shown.getvalue().removesuffix("\n"), code)


def _fail(text: str, code: int) -> int:
    with suppress(OSError):  # standard error may be closed too
        echo(text, err=True)
    return code
