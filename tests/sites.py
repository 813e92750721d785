"""Where an installation can have its facts and its bytes: SQLite and a folder, as a laptop has it, or PostgreSQL and S3."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phimage.chunks.factory import open_store
from phimage.settings import Settings
from tests.contract.stores import S3Server
from tests.postgresql import PostgreSQL

SITES = ("sqlite and folder", "postgresql and s3")


class Site:
    """SQLite and a folder, both in the data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def settings(self, **given: Any) -> Settings:
        """Settings of an installation here."""
        return Settings(data_dir=str(self.data), **given)

    def lose_database(self) -> None:
        """Nothing is left of the database; nobody may be using it."""
        for file in self.data.glob("catalog.sqlite*"):
            file.unlink()

    @contextmanager
    def copy(self, to: Path) -> Iterator[Site]:
        """The same installation elsewhere; nobody may be using it."""
        shutil.copytree(self.data, to)
        yield type(self)(to)


class LargeSite(Site):
    """PostgreSQL and S3. The data folder has the master key."""

    def __init__(self, data: Path, postgresql: PostgreSQL, s3: S3Server, template: str = "template0") -> None:
        super().__init__(data)
        self._postgresql = postgresql
        self._s3 = s3
        self._name = postgresql.create(template)
        self._store = s3.new_address()

    def settings(self, **given: Any) -> Settings:
        """Settings of an installation here."""
        where = {"database": self._postgresql.url(self._name), "store": self._store}
        return super().settings(**{**where, **given})

    def lose_database(self) -> None:
        """An empty database takes the place of the old one."""
        self._name = self._postgresql.create()

    @contextmanager
    def copy(self, to: Path) -> Iterator[Site]:
        """The same installation elsewhere; nobody may be using it."""
        shutil.copytree(self.data, to)
        copied = LargeSite(to, self._postgresql, self._s3, self._name)
        try:
            here, there = open_store(self._store), open_store(copied._store)
            for object in here.list():
                there.put(object.name, here.get(object.name))
            yield copied
        finally:
            self._postgresql.drop(copied._name)


NewSite = Callable[[Path], Site]
"""Makes an empty site with a data folder."""
