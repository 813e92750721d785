"""Shops for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.catalog.store import Catalog
from phimage.chunks.memory import MemoryStore
from tests.publishing.shop import Shop


@pytest.fixture
def shop(catalog: Catalog, tmp_path: Path) -> Shop:
    """A worker on an empty catalogue and an empty store."""
    return Shop(catalog, MemoryStore(), tmp_path / "work")
