"""What the proofs share. Their long forms are in `make torture`, their short forms in `make test-more`.

A proof in process uses SQLite unless it asks for both databases.
"""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the proofs out of `make test`."""
    for item in items:
        if item.path.parent == FOLDER:
            item.add_marker(pytest.mark.more)


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    """SQLite; another one by `pytest.mark.parametrize("dialect", ..., indirect=True)`."""
    found: str = getattr(request, "param", "sqlite")
    return found
