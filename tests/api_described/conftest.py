"""One real server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api_described.served import Served, demo


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the demonstration's catalogue, and a key of its operator."""
    with demo(tmp_path_factory.mktemp("served")) as found:
        yield found
