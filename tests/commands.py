"""The command line inside the test's own process, as `phimage` runs it: a process for each command takes its time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest

from phimage.cli import main

NOBODY = 65534


class Result(NamedTuple):
    """How a command ended. In a terminal both streams are one, `out`."""

    code: int
    out: str
    err: str


def run(*arguments: str | Path, text: str = "") -> Result:
    """Run a command to its end; `text` is its standard input. An error that would be a traceback is raised."""
    given, out, err = BytesIO(text.encode()), BytesIO(), BytesIO()
    stdin, stdout, stderr = (TextIOWrapper(stream, "utf-8", write_through=True) for stream in (given, out, err))
    with patch.multiple(sys, stdin=stdin, stdout=stdout, stderr=stderr), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return Result(code, out.getvalue().decode(), err.getvalue().decode())


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
