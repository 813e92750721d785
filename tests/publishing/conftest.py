"""Shops for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.catalog.views import Catalog
from phimage.chunks.store import Store
from tests.conftest import sqlite_first
from tests.contract import stores
from tests.publishing.shop import Shop

s3, store_beside = stores.s3, stores.store_beside


dialect = sqlite_first


@pytest.fixture
def shop(catalog: Catalog, store_beside: Store, tmp_path: Path) -> Shop:
    """A worker on an empty catalogue and an empty store."""
    return Shop(catalog, store_beside, tmp_path / "work")
