"""The command line inside the test's own process, as `phimage` runs it: a process for each command takes its time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from phimage.cli import main

NOBODY = 65534


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*arguments: str | Path) -> Result:
    """Run a command to its end. An error that would be a traceback is raised."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return Result(code, out.getvalue(), err.getvalue())


@contextmanager
def as_nobody() -> Iterator[None]:
    """Lose root's right to read every file. Modules that are imported late must have been imported before."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
