"""What the contract suites share: a count of the SQL statements that a catalogue sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from phimage.catalog.store import Catalog


class Statements:
    """Counts what a catalogue asks its database."""

    def __init__(self, catalog: Catalog) -> None:
        self._engine = catalog.database.engine
        self.sent: list[str] = []

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The statements that are sent inside the block."""
        self.sent.clear()
        event.listen(self._engine, "before_cursor_execute", self._note)
        try:
            yield self.sent
        finally:
            event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        self.sent.append(statement)


@pytest.fixture
def statements(catalog: Catalog) -> Statements:
    """Counts what `catalog` asks its database."""
    return Statements(catalog)
