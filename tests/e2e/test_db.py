"""`phimage db` as an operator uses it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.conftest import starter
from tests.e2e.process import Phimage, Server, open_to_others
from tests.postgresql import PostgreSQL

pytestmark = pytest.mark.more


def test_an_installation_moves_from_sqlite_to_postgresql_and_back(tmp_path: Path, postgresql: PostgreSQL) -> None:
    home = Phimage(tmp_path)
    with Server(home, "serve", "--port", "0", "--data-dir", "data") as server:
        key = server.new_key
        assert key is not None
        with Client(server.url, key.public, PrivateKey(key.private)) as client:
            client.call("ApplyCatalog", Catalog=starter())
            before = client.call("ExportCatalog").fields["Catalog"]
    target = postgresql.url(postgresql.create())
    source = (tmp_path / "data" / "catalog.sqlite").read_bytes()

    there = home.json("db", "copy", "--data-dir", "data", "--to", target)
    assert there["Revision"] == 2
    rows = {table["Table"]: table["Rows"] for table in there["Tables"]}
    assert (rows["revision"], rows["account"], rows["head"]) == (2, 1, 1)
    assert (tmp_path / "data" / "catalog.sqlite").read_bytes() == source
    assert home.json("db", "check", "--data-dir", "data", "--database", target) == {"Findings": []}

    again = home.run("db", "copy", "--data-dir", "data", "--to", target)
    told = "phimage: the target is not empty: create a new, empty database and name it with --to\n"
    assert (again.code, again.err) == (78, told)

    with Server(home, "serve", "--port", "0", "--data-dir", "data", "--database", target) as server:
        assert server.new_key is None, "it is the same installation"
        with Client(server.url, key.public, PrivateKey(key.private)) as client:
            assert client.call("ExportCatalog").fields["Catalog"] == before

    back = home.json("db", "copy", "--data-dir", "data", "--database", target, "--to", f"sqlite:///{tmp_path / 'back.sqlite'}")
    facts = [table for table in there["Tables"] if table["Table"] != "rate_use"]
    assert [table for table in back["Tables"] if table["Table"] != "rate_use"] == facts
    assert open_to_others(tmp_path / "back.sqlite") == []


def test_a_check_that_finds_something_names_it_and_exits_with_1(tmp_path: Path) -> None:
    home = Phimage(tmp_path)
    with Server(home, "serve", "--port", "0", "--data-dir", "data"):
        pass
    assert home.well("db", "check", "--data-dir", "data") == "no findings\n"
    with closing(sqlite3.connect(tmp_path / "data" / "catalog.sqlite")) as database:
        database.execute("DELETE FROM project")
        database.commit()

    found = home.run("db", "check", "--data-dir", "data")

    assert found.code == 1
    assert "the log records" in found.out
