"""A running server beside a newer schema: it goes on if the step allows it, and stops before it writes if not."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.catalog import schema
from phimage.catalog.engine import database_url as url_of
from phimage.catalog.engine import open_database
from phimage.errors import Refused
from tests.e2e.conftest import Installation
from tests.e2e.process import wait_until

pytestmark = pytest.mark.more

STEP = '''
"""A step of a later program"""
import sqlalchemy as sa
from alembic import op

revision, down_revision, compatible_with = "{number}", "{after}", "{compatible_with}"


def upgrade():
    """Go on."""
    op.add_column("account", sa.Column("note{number}", sa.Text(), server_default=""))
'''


def test_a_running_server_goes_on_beside_a_schema_that_allows_it_and_ends_its_work_beside_one_that_does_not(
    fresh: Installation, database_url: str, tmp_path: Path
) -> None:
    later = tmp_path / "later"
    later.mkdir()

    def upgrade(number: str, after: str, compatible_with: str) -> None:
        step = STEP.format(number=number, after=after, compatible_with=compatible_with)
        (later / f"{number}_later.py").write_text(step)
        database = open_database(url_of(database_url, tmp_path / "home" / "data"))
        schema.upgrade(database, [later])
        database.close()

    with fresh.client() as client:
        client.call("CreateAccount", Account="before", ZoneLimit=["any"], NetworkLimit=["any"])
        upgrade("8001", schema.newest(), schema.newest())
        client.call("CreateAccount", Account="beside", ZoneLimit=["any"], NetworkLimit=["any"])
        assert {row["Account"] for row in client.call("ListAccounts").fields["AccountSet"]} == {"operator", "before", "beside"}
        told = fresh.phimage.json("db", "status", "--data-dir", "data", "--database", database_url)
        assert told == {"Schema": "8001", "Needed": schema.newest(), "Oldest": schema.newest()}

        upgrade("8002", "8001", "8002")
        with pytest.raises(Refused, match="start a phimage of schema 8002 or newer") as refused:
            client.call("CreateAccount", Account="after", ZoneLimit=["any"], NetworkLimit=["any"])
        assert refused.value.ret_code == 150

        def told_by_lists() -> bool:
            try:
                client.call("ListAccounts")
            except Refused as error:
                return error.ret_code == 150
            return False

        wait_until(told_by_lists, 60)

    result = fresh.phimage.run("serve", "--port", "0", "--data-dir", "data", "--database", database_url)
    assert result.code == 78
    assert "the database has schema 8002 and needs a phimage of schema 8002 or newer" in result.err
