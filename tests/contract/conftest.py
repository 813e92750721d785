"""What the contract suites share: a count of what a catalogue asks of its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from phimage.catalog.engine import Database
from phimage.catalog.views import Catalog


class Statements:
    """What a catalogue asks its database: each connection that is taken, the SQL that goes through SQLAlchemy, and lookups of
    the event loop."""

    def __init__(self, catalog: Catalog) -> None:
        self._database = catalog.database
        self._engine = catalog.database.engine
        self.sent: list[str] = []

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """What is asked inside the block."""
        self.sent.clear()
        before = self._database.calls["lookup"].count
        event.listen(self._engine, "checkout", self._note_connection)
        event.listen(self._engine, "before_cursor_execute", self._note)
        try:
            yield self.sent
        finally:
            event.remove(self._engine, "before_cursor_execute", self._note)
            event.remove(self._engine, "checkout", self._note_connection)
            self.sent += ["a lookup"] * (self._database.calls["lookup"].count - before)

    def _note_connection(self, connection: Any, entry: Any, proxy: Any) -> None:
        self.sent.append("a connection")

    def _note(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        self.sent.append(statement)


@pytest.fixture
def nothing_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that may not wait has only what is remembered, on a file as well: how these tests see what is."""
    monkeypatch.setattr(Database, "is_local", False)


@pytest.fixture
def statements(catalog: Catalog) -> Statements:
    """Counts what `catalog` asks its database."""
    return Statements(catalog)
