"""A call in a child process."""

from __future__ import annotations

import os

import pytest

from phimage.chunks.errors import StoreFailure
from phimage.processes.runtime import in_child


def test_the_result_of_a_child_is_the_callers() -> None:
    child, parent = in_child(lambda: (os.getpid(), os.getppid()))
    assert parent == os.getpid() != child


def test_an_error_of_a_child_is_raised_whole() -> None:
    def fail() -> None:
        raise StoreFailure("list", "chunks", "unreachable", "no route", passing=True)

    with pytest.raises(StoreFailure, match=r"^list chunks: unreachable \(no route\)$") as raised:
        in_child(fail)
    assert (raised.value.operation, raised.value.passing, raised.value.exit_code) == ("list", True, 1)
