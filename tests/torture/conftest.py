"""Databases for proofs in process: SQLite unless a proof asks for both."""

from __future__ import annotations

import pytest


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    """SQLite; another one by `pytest.mark.parametrize("dialect", ..., indirect=True)`."""
    found: str = getattr(request, "param", "sqlite")
    return found
